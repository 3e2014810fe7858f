"""PyTorch on one thread, asked over standard input: one JSON request a line, one JSON answer a line.

prepare  {"do": "prepare", "op", "folder", "shape", "eps", "layout", "groups"}   reads x, dy, gamma, beta, and for batch norm mean, var (raw f32) from the folder
time     {"do": "time", "milliseconds"}                               answers microseconds of single calls
training {"do": "training", "folder", "batch", "side", "shapes", "rate", "eps", "compared"}   reads images, labels, conv0, conv1 …, linear
output   {"do": "output"}                                             writes the result to the folder as `y`
"""
import json
import os
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F

torch.set_num_threads(1)
torch.set_num_interop_threads(1)
print(json.dumps({"version": torch.__version__}), flush=True)

work = None
folder = None
channels_last = False


def read(name, shape=None):
    data = torch.from_numpy(np.fromfile(os.path.join(folder, name), dtype=np.float32))
    return data if shape is None else data.reshape(shape)


def image(name, shape, layout):
    """An input in the layout asked for. Channels last is stored [N, H, W, C] and seen as [N, C, H, W]."""
    data = read(name, shape)
    return data.permute(0, 3, 1, 2) if layout == "channels-last" and len(shape) == 4 else data


def sample_norm(op, shape, eps, layout, groups):
    """Layer, RMS, group and instance norm, forward alone or, from a graph that is kept, backward alone."""
    norm, _, direction = op.partition(", ")
    x, gamma, beta = image("x", shape, layout), read("gamma"), read("beta")

    def forward():
        if norm == "layer norm":
            return F.layer_norm(x, shape[-1:], gamma, beta, eps)
        if norm == "RMS norm":
            return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps) * gamma
        if norm == "group norm":
            return F.group_norm(x, groups, gamma, beta, eps)
        return F.instance_norm(x, weight=gamma, bias=beta, eps=eps)

    if not direction:
        def run():
            with torch.no_grad():
                return forward()
        return run
    dy = image("dy", shape, layout)
    inputs = [x, gamma] if norm == "RMS norm" else [x, gamma, beta]
    for tensor in inputs:
        tensor.requires_grad_()
    y = forward()
    return lambda: torch.autograd.grad(y, inputs, dy, retain_graph=True)[0]


def prepare(op, shape, eps, layout, groups):
    if op.partition(", ")[0] in ("layer norm", "RMS norm", "group norm", "instance norm"):
        return sample_norm(op, shape, eps, layout, groups)
    x = image("x", shape, layout)
    gamma, beta, mean, var = (read(name) for name in ("gamma", "beta", "mean", "var"))
    if op == "eval":
        def run():
            with torch.no_grad():
                return F.batch_norm(x, mean, var, gamma, beta, False, 0.1, eps)
    elif op == "train":
        running = mean.clone(), var.clone()

        def run():
            with torch.no_grad():
                return F.batch_norm(x, *running, gamma, beta, True, 0.1, eps)
    else:
        dy = image("dy", shape, layout)
        saved = torch.native_batch_norm(x, gamma, beta, None, None, True, 0.1, eps)

        def run():
            with torch.no_grad():
                return torch.ops.aten.native_batch_norm_backward(
                    dy, x, gamma, None, None, saved[1], saved[2], True, eps, [True, True, True])[0]
    return run


def training(batch, side, shapes, rate, eps, compared):
    """A step of gradient descent; the result is the losses of the first steps and the first convolution's weights behind them."""
    layers = []
    for i, (out, channels, *_) in enumerate(shapes):
        conv = torch.nn.Conv2d(channels, out, 3, padding=1, bias=False)
        conv.weight.data.copy_(read(f"conv{i}", shapes[i]))
        layers += [conv, torch.nn.BatchNorm2d(out, eps=eps), torch.nn.ReLU(), torch.nn.MaxPool2d(2)]
    weight = read("linear")
    linear = torch.nn.Linear(weight.numel() // 10, 10)
    linear.weight.data.copy_(weight.reshape(10, -1))
    linear.bias.data.zero_()
    net = torch.nn.Sequential(*layers, torch.nn.Flatten(), linear).train()
    images, labels = read("images", [batch, 1, side, side]), read("labels").long()
    optimizer = torch.optim.SGD(net.parameters(), lr=rate)

    def step():
        loss = F.cross_entropy(net(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    first = torch.tensor([step() for _ in range(compared)])
    return step, torch.cat([first, layers[0].weight.detach().flatten()])


result = None
for line in sys.stdin:
    request = json.loads(line)
    if request["do"] == "prepare":
        folder = request["folder"]
        channels_last = request["layout"] == "channels-last" and len(request["shape"]) == 4
        work = prepare(request["op"], request["shape"], request["eps"], request["layout"], request.get("groups"))
        work()
        result = None
        answer = {}
    elif request["do"] == "training":
        folder = request["folder"]
        channels_last = False
        work, result = training(*(request[name] for name in ("batch", "side", "shapes", "rate", "eps", "compared")))
        answer = {}
    elif request["do"] == "time":
        samples = []
        end = time.perf_counter() + request["milliseconds"] / 1000
        repeats = 1
        while time.perf_counter() < end or len(samples) < 3:
            start = time.perf_counter()
            for _ in range(repeats):
                work()
            took = time.perf_counter() - start
            if took < 50e-6 and repeats < 4096:
                repeats *= 4
                continue
            samples.append(took / repeats * 1e6)
        answer = {"samples": samples}
    else:
        y = work() if result is None else result
        if channels_last:
            y = y.permute(0, 2, 3, 1)
        y.contiguous().numpy().tofile(os.path.join(folder, "y"))
        answer = {}
    print(json.dumps(answer), flush=True)
