#!/usr/bin/env python3
"""One training step of a small Llama in eager PyTorch: forward, backward, AdamW, fp32.

The model is read from a directory in Hugging Face layout (config.json, model.safetensors in F32), the
tokens are those of `training_bench --only step`, so both programs must print the same losses.

    llama_torch.py MODEL [--samples 16] [--length 128] [--steps 3] [--threads 1]
"""
import argparse
import json
import struct
import time

import numpy
import torch
import torch.nn.functional as F


def read_safetensors(path):
    with open(path, "rb") as file:
        size = struct.unpack("<Q", file.read(8))[0]
        header = json.loads(file.read(size))
        data = file.read()
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        values = numpy.frombuffer(data[begin:end], dtype="<f4").reshape(entry["shape"])
        tensors[name] = torch.tensor(values)
    return tensors


class Llama(torch.nn.Module):
    def __init__(self, config, tensors, length):
        super().__init__()
        self.config = config
        self.names = {name.replace(".", "_"): name for name in tensors}
        self.w = torch.nn.ParameterDict({k: torch.nn.Parameter(tensors[n]) for k, n in self.names.items()})
        half = config["head_dim"] // 2
        inverse = config["rope_theta"] ** (-torch.arange(half, dtype=torch.float64) / half)
        angle = torch.outer(torch.arange(length, dtype=torch.float64), inverse)
        self.cos = torch.cat([angle.cos(), angle.cos()], -1).float()
        self.sin = torch.cat([angle.sin(), angle.sin()], -1).float()
        self.mask = torch.full((length, length), float("-inf")).triu(1)

    def weight(self, layer, name):
        return self.w[f"model_layers_{layer}_{name}_weight"]

    def norm(self, x, w):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.config["rms_norm_eps"]) * w

    def rotate(self, x):
        a, b = x.chunk(2, -1)
        return x * self.cos + torch.cat([-b, a], -1) * self.sin

    def forward(self, ids):
        c = self.config
        heads, kv_heads, dim = c["num_attention_heads"], c["num_key_value_heads"], c["head_dim"]
        batch, length = ids.shape
        x = F.embedding(ids, self.w["model_embed_tokens_weight"])
        for l in range(c["num_hidden_layers"]):
            h = self.norm(x, self.weight(l, "input_layernorm"))
            split = lambda name, n: F.linear(h, self.weight(l, f"self_attn_{name}_proj")).view(batch, length, n, dim).transpose(1, 2)
            q, k, v = self.rotate(split("q", heads)), self.rotate(split("k", kv_heads)), split("v", kv_heads)
            if kv_heads != heads:
                k, v = (t.repeat_interleave(heads // kv_heads, 1) for t in (k, v))
            p = torch.softmax(q @ k.transpose(-1, -2) / dim**0.5 + self.mask, -1)
            o = (p @ v).transpose(1, 2).reshape(batch, length, heads * dim)
            x = x + F.linear(o, self.weight(l, "self_attn_o_proj"))
            h = self.norm(x, self.weight(l, "post_attention_layernorm"))
            h = F.silu(F.linear(h, self.weight(l, "mlp_gate_proj"))) * F.linear(h, self.weight(l, "mlp_up_proj"))
            x = x + F.linear(h, self.weight(l, "mlp_down_proj"))
        return F.linear(self.norm(x, self.w["model_norm_weight"]), self.w["model_embed_tokens_weight"])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    config = json.load(open(f"{arguments.model}/config.json"))
    model = Llama(config, read_safetensors(f"{arguments.model}/model.safetensors"), arguments.length)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95), eps=1e-8, weight_decay=0, foreach=True)
    limit = min(config["vocab_size"], 30011)
    s = torch.arange(arguments.samples).view(-1, 1)
    i = torch.arange(arguments.length + 1).view(1, -1)
    tokens = (s * 7919 + i * 104729 + 17) % limit
    # One thread: processor time, so that neighbours on the machine do not count; as training_bench does.
    clock = time.process_time if arguments.threads == 1 else time.perf_counter
    for _ in range(arguments.steps):
        begin = clock()
        optimizer.zero_grad(set_to_none=True)
        loss = F.cross_entropy(model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten())
        loss.backward()
        measured = clock()
        # In fp64: the library's own fp32 sum over millions of squares is low by 1e-4 to 5e-4.
        norm = sum(float(p.grad.double().pow(2).sum()) for p in model.parameters()) ** 0.5
        begin += clock() - measured
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        print(f"step {clock() - begin:.4f} s loss {loss.item():.6f} gradient_norm {norm:.6f}", flush=True)


if __name__ == "__main__":
    main()
