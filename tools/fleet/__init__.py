"""The operator's side: whole batches into Baidu, Feishu and Coze, and out again."""
