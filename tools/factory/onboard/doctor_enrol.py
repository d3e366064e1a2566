# Has this board's own agent enrol, as it would at its next start.
import json

import muster

agent = muster.Agent()
try:
    agent.enrol()
    told = {"enrolled": agent.status()["device_id"]}
except muster.Error as e:
    told = {"fault": str(e)}
print(json.dumps(told))
