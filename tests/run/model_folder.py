"""Model folders in Hugging Face layout, read and written by nothing but Python's standard library: a reader that shares no line
with the program, so that a mistake made twice in the same way does not go unseen.

  model_folder.py make DIR TOKENIZER_JSON   a small Qwen2 in two bf16 shards, with every file such folders come with
  model_folder.py check DIR OUT f32|bf16    OUT is what an export of DIR has to be
"""
import json
import pathlib
import shutil
import struct
import sys

SHAPE = {"vocab_size": 320, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
         "num_key_value_heads": 2, "max_position_embeddings": 256, "rms_norm_eps": 1e-06, "rope_theta": 1000000.0}
ROPE = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}
WIDTH = {"F32": 4, "BF16": 2}
KEPT = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja")


def tensors():
    d, ff, kv = SHAPE["hidden_size"], SHAPE["intermediate_size"], 16
    yield "model.embed_tokens.weight", [SHAPE["vocab_size"], d]
    for layer in range(SHAPE["num_hidden_layers"]):
        prefix = f"model.layers.{layer}."
        for name, shape in (("input_layernorm.weight", [d]), ("post_attention_layernorm.weight", [d]),
                            ("self_attn.q_proj.weight", [d, d]), ("self_attn.q_proj.bias", [d]),
                            ("self_attn.k_proj.weight", [kv, d]), ("self_attn.k_proj.bias", [kv]),
                            ("self_attn.v_proj.weight", [kv, d]), ("self_attn.v_proj.bias", [kv]),
                            ("self_attn.o_proj.weight", [d, d]), ("mlp.gate_proj.weight", [ff, d]),
                            ("mlp.up_proj.weight", [ff, d]), ("mlp.down_proj.weight", [d, ff])):
            yield prefix + name, shape
    yield "model.norm.weight", [d]


def count(shape):
    n = 1
    for extent in shape:
        n *= extent
    return n


def words(name, n):
    """Bit patterns of bf16 numbers of ordinary size, both signs, from a small generator seeded by the name."""
    state = sum(name.encode()) * 2654435761 % 2**32 | 1
    for _ in range(n):
        state = (state * 1664525 + 1013904223) % 2**32
        yield (state >> 16 & 0x8000) | 0x3C00 + (state >> 8) % 0x180


def write(path, entries):
    header, data = {}, b""
    for name, shape in entries:
        raw = struct.pack(f"<{count(shape)}H", *words(name, count(shape)))
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return len(data)


def make(folder, tokenizer):
    folder.mkdir()
    entries = list(tensors())
    half = len(entries) // 2
    names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    total = write(folder / names[0], entries[:half]) + write(folder / names[1], entries[half:])
    weight_map = {name: names[i >= half] for i, (name, _) in enumerate(entries)}
    put = lambda name, value: (folder / name).write_text(json.dumps(value, indent=4))
    put("model.safetensors.index.json", {"metadata": {"total_size": total}, "weight_map": weight_map})
    put("config.json", SHAPE | {"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_act": "silu", "eos_token_id": 3,
                                "bos_token_id": 2, "tie_word_embeddings": True, "torch_dtype": "bfloat16", "rope_scaling": ROPE,
                                "use_sliding_window": False, "sliding_window": 128, "max_window_layers": 1})
    put("generation_config.json", {"do_sample": True, "temperature": 0.7, "eos_token_id": [3, 4]})
    put("tokenizer_config.json", {"tokenizer_class": "Qwen2Tokenizer", "eos_token": "<|end|>"})
    (folder / "special_tokens_map.json").write_text('{ "eos_token":"<|end|>" }')
    (folder / "chat_template.jinja").write_text("{% for m in messages %}{{ m.content }}\r\n{% endfor %}")
    shutil.copy(tokenizer, folder / "tokenizer.json")


def read(path):
    """All rules of the container, then name -> (dtype, shape, bytes)."""
    raw = path.read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    assert length % 8 == 0, "the header is padded to a multiple of 8"
    text = raw[8:8 + length].decode("utf-8")
    assert text[0] == "{" and json.loads(text, object_pairs_hook=lambda p: len({k for k, _ in p}) == len(p) or 1 / 0)
    header, data = json.loads(text), raw[8 + length:]
    assert header.pop("__metadata__", {}).get("format") == "pt", "Transformers asks for the format"
    at, found = 0, {}
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        begin, end = entry["data_offsets"]
        assert begin == at and end - begin == count(entry["shape"]) * WIDTH[entry["dtype"]], name
        found[name], at = (entry["dtype"], entry["shape"], data[begin:end]), end
    assert at == len(data), "the tensors tile the file"
    return found


def check(folder, out, form):
    found = read(out / "model.safetensors")
    assert set(found) == {name for name, _ in tensors()}, "the same tensors, no head beside a tied embedding"
    for name, shape in tensors():
        dtype, got_shape, raw = found[name]
        assert dtype == {"f32": "F32", "bf16": "BF16"}[form] and got_shape == shape, name
        half = list(words(name, count(shape)))
        want = struct.pack(f"<{len(half)}H", *half) if form == "bf16" else struct.pack(f"<{len(half)}I", *(h << 16 for h in half))
        assert raw == want, f"{name}: other bits"
    config = json.loads((out / "config.json").read_text())
    for field, value in SHAPE.items():
        assert config[field] == value and type(config[field]) is type(value), field
    wanted = {"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_act": "silu", "tie_word_embeddings": True,
              "use_sliding_window": False, "bos_token_id": 2, "eos_token_id": [3, 4],
              "torch_dtype": {"f32": "float32", "bf16": "bfloat16"}[form]}
    for field, value in wanted.items():
        assert config[field] == value, (field, config[field])
    assert ROPE.items() <= config["rope_scaling"].items(), config["rope_scaling"]
    generation = json.loads((out / "generation_config.json").read_text())
    assert generation["temperature"] == 0.7 and generation["do_sample"] is True and generation["eos_token_id"] == [3, 4]
    for name in KEPT:
        assert (out / name).read_bytes() == (folder / name).read_bytes(), f"{name} is kept byte for byte"


if __name__ == "__main__":
    if sys.argv[1] == "make":
        make(pathlib.Path(sys.argv[2]), sys.argv[3])
    else:
        check(pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3]), sys.argv[4])
