#!/usr/bin/env python3
"""Makes one model of random weights in both formats: DIR/ as Transformers keeps it (config.json,
model.safetensors, F32) and DIR/model-{f32,bf16}.gguf for llama.cpp. Needs numpy alone.

    make_model.py DIR [--shape 15m|0.5b] [--layers N]
"""
import argparse
import json
import os
import struct

import numpy

SHAPES = {
    "15m": dict(vocab_size=32000, hidden_size=288, intermediate_size=768, num_hidden_layers=6, num_attention_heads=6,
                num_key_value_heads=6, head_dim=48, rope_theta=10000.0),
    "0.5b": dict(vocab_size=151936, hidden_size=896, intermediate_size=4864, num_hidden_layers=24, num_attention_heads=14,
                 num_key_value_heads=2, head_dim=64, rope_theta=1000000.0),
}


def make(config):
    rng = numpy.random.default_rng(7)
    d, ff = config["hidden_size"], config["intermediate_size"]
    q = config["num_attention_heads"] * config["head_dim"]
    kv = config["num_key_value_heads"] * config["head_dim"]
    normal = lambda *shape: (0.02 * rng.standard_normal(shape)).astype("<f4")
    tensors = {"model.embed_tokens.weight": normal(config["vocab_size"], d), "model.norm.weight": numpy.ones(d, "<f4")}
    for layer in range(config["num_hidden_layers"]):
        p = f"model.layers.{layer}."
        for name, shape in (("self_attn.q_proj", (q, d)), ("self_attn.k_proj", (kv, d)), ("self_attn.v_proj", (kv, d)),
                            ("self_attn.o_proj", (d, q)), ("mlp.gate_proj", (ff, d)), ("mlp.up_proj", (ff, d)),
                            ("mlp.down_proj", (d, ff))):
            tensors[p + name + ".weight"] = normal(*shape)
        for name in ("input_layernorm", "post_attention_layernorm"):
            tensors[p + name + ".weight"] = numpy.ones(d, "<f4")
    return tensors


def write_safetensors(path, tensors):
    header, at = {}, 0
    for name in sorted(tensors):
        size = tensors[name].nbytes
        header[name] = {"dtype": "F32", "shape": list(tensors[name].shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name in sorted(tensors):
            file.write(tensors[name].tobytes())


# Values of GGUF metadata: type numbers of that format.
def string(text):
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def entry(key, value):
    if isinstance(value, str):
        return string(key) + struct.pack("<I", 8) + string(value)
    if isinstance(value, float):
        return string(key) + struct.pack("<If", 6, value)
    if isinstance(value, int):
        return string(key) + struct.pack("<II", 4, value)
    kind, items = value  # an array
    head = string(key) + struct.pack("<IIQ", 9, kind, len(items))
    pack = {8: string, 6: lambda v: struct.pack("<f", v), 5: lambda v: struct.pack("<i", v)}[kind]
    return head + b"".join(pack(v) for v in items)


def interleave(w, heads):
    """Rows of q and k in the order that pairs neighbours in RoPE, as llama.cpp's llama graph rotates."""
    rows, columns = w.shape
    return w.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)


def gguf_tensors(config, tensors):
    names = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
             "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
             "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm"}
    yield "token_embd.weight", tensors["model.embed_tokens.weight"]
    yield "output_norm.weight", tensors["model.norm.weight"]
    for layer in range(config["num_hidden_layers"]):
        for ours, theirs in names.items():
            w = tensors[f"model.layers.{layer}.{ours}.weight"]
            if theirs == "attn_q":
                w = interleave(w, config["num_attention_heads"])
            if theirs == "attn_k":
                w = interleave(w, config["num_key_value_heads"])
            yield f"blk.{layer}.{theirs}.weight", w


def write_gguf(path, config, tensors, bf16):
    vocab = config["vocab_size"]
    pieces = ["<unk>", "<s>", "</s>"] + [f"<0x{i:02X}>" for i in range(256)] + [f"t{i}" for i in range(259, vocab)]
    metadata = {
        "general.architecture": "llama", "general.name": "bench", "general.file_type": 32 if bf16 else 0,
        "llama.context_length": 4096, "llama.embedding_length": config["hidden_size"],
        "llama.block_count": config["num_hidden_layers"], "llama.feed_forward_length": config["intermediate_size"],
        "llama.attention.head_count": config["num_attention_heads"],
        "llama.attention.head_count_kv": config["num_key_value_heads"], "llama.vocab_size": vocab,
        "llama.rope.dimension_count": config["head_dim"], "llama.rope.freq_base": config["rope_theta"],
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "tokenizer.ggml.model": "llama", "tokenizer.ggml.tokens": (8, pieces),
        "tokenizer.ggml.scores": (6, [-float(i) for i in range(vocab)]),
        "tokenizer.ggml.token_type": (5, [2, 3, 3] + [6] * 256 + [1] * (vocab - 259)),
        "tokenizer.ggml.bos_token_id": 1, "tokenizer.ggml.eos_token_id": 2,
    }
    infos, blobs, at = b"", [], 0
    listed = list(gguf_tensors(config, tensors))
    for name, w in listed:
        kind, data = 0, numpy.ascontiguousarray(w)
        if bf16 and w.ndim == 2:
            bits = data.view("<u4").astype("<u8")
            kind, data = 30, ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")
        infos += string(name) + struct.pack("<I", w.ndim) + b"".join(struct.pack("<Q", n) for n in reversed(w.shape))
        infos += struct.pack("<IQ", kind, at)
        raw = data.tobytes()
        raw += bytes(-len(raw) % 32)
        blobs.append(raw)
        at += len(raw)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(listed), len(metadata)) + b"".join(entry(k, v) for k, v in metadata.items()) + infos
    with open(path, "wb") as file:
        file.write(head + bytes(-len(head) % 32))
        for raw in blobs:
            file.write(raw)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("directory")
    parser.add_argument("--shape", choices=sorted(SHAPES), default="15m")
    parser.add_argument("--layers", type=int, default=0)
    arguments = parser.parse_args()
    config = dict(SHAPES[arguments.shape], architectures=["LlamaForCausalLM"], model_type="llama", hidden_act="silu",
                  max_position_embeddings=4096, rms_norm_eps=1e-5, tie_word_embeddings=True, torch_dtype="float32",
                  bos_token_id=1, eos_token_id=2, attention_bias=False, mlp_bias=False)
    if arguments.layers:
        config["num_hidden_layers"] = arguments.layers
    os.makedirs(arguments.directory, exist_ok=True)
    with open(f"{arguments.directory}/config.json", "w") as file:
        json.dump(config, file, indent=1)
    tensors = make(config)
    write_safetensors(f"{arguments.directory}/model.safetensors", tensors)
    write_gguf(f"{arguments.directory}/model-f32.gguf", config, tensors, False)
    write_gguf(f"{arguments.directory}/model-bf16.gguf", config, tensors, True)


if __name__ == "__main__":
    main()
