# What the device has kept on flash, as its agent takes it up. Prints no secret.
import json

import muster
from muster import store

agent = muster.Agent()
told = agent.status()
kept = (agent._store or store.FileStore(store.STATE)).load() or {}
if kept:
    kept = f"{kept.get('deviceNoType')} {kept.get('deviceNo')} of product {kept.get('productId')}"
told["kept"] = kept
print(json.dumps(told))
