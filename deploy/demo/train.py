"""Trains the demo model, a Llama of 3M parameters that answers the jobs of documents.py.

  python3 train.py --out scribe --minutes 90     (a CPU will do; needs PyTorch and numpy)

Writes a Hugging Face folder: config.json, tokenizer.json, tokenizer_config.json,
generation_config.json and model.safetensors (bf16). With --keep DIR it also saves a copy every 500
steps: an early one is a model that is visibly worse.
"""

import argparse
import collections
import json
import math
import os
import re
import struct
import time

import numpy
import torch
import torch.nn.functional as F

import documents

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
# The pre-tokenizer of Qwen 2, and the same for the ASCII text that documents.py writes.
PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
ASCII_PATTERN = re.compile(
    PATTERN.replace(r"[^\r\n\p{L}\p{N}]", "[^\r\nA-Za-z0-9]")
    .replace(r"[^\s\p{L}\p{N}]", r"[^\sA-Za-z0-9]")
    .replace(r"\p{L}", "[A-Za-z]")
    .replace(r"\p{N}", "[0-9]")
)
TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + "
    "message['content'] + '<|im_end|>' + '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def byte_alphabet():
    """GPT-2's map from each byte to a printable character."""
    keep = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    table, extra = {b: chr(b) for b in keep}, 0
    for b in range(256):
        if b not in table:
            table[b] = chr(256 + extra)
            extra += 1
    return table


ALPHABET = byte_alphabet()


def merged(word, pair):
    """The word with each neighbouring pair joined, from left to right."""
    out, i = [], 0
    while i < len(word):
        if i + 1 < len(word) and (word[i], word[i + 1]) == pair:
            out.append(word[i] + word[i + 1])
            i += 2
        else:
            out.append(word[i])
            i += 1
    return out


class Tokenizer:
    """Byte-level byte-pair encoding; what it saves is Hugging Face's tokenizer.json."""

    def __init__(self, vocab, merges):
        self.vocab, self.ranks, self.cache = vocab, {pair: i for i, pair in enumerate(merges)}, {}

    @staticmethod
    def train(texts, size):
        words = collections.Counter()
        for text in texts:
            for piece in ASCII_PATTERN.findall(text):
                words[tuple(ALPHABET[b] for b in piece.encode())] += 1
        vocab = {c: i for i, c in enumerate(ALPHABET[b] for b in range(256))}
        merges = []
        words = [[list(w), n] for w, n in words.items()]
        while len(vocab) < size - len(SPECIAL):
            pairs = collections.Counter()
            for w, n in words:
                for p in zip(w, w[1:]):
                    pairs[p] += n
            if not pairs:
                break
            best = max(pairs, key=lambda p: (pairs[p], p))
            if pairs[best] < 2:
                break
            merges.append(best)
            vocab["".join(best)] = len(vocab)
            for item in words:
                item[0] = merged(item[0], best)
        for s in SPECIAL:
            vocab[s] = len(vocab)
        return Tokenizer(vocab, merges)

    def piece(self, piece):
        if piece in self.cache:
            return self.cache[piece]
        w = [ALPHABET[b] for b in piece.encode()]
        while len(w) > 1:
            best = min(range(len(w) - 1), key=lambda i: self.ranks.get((w[i], w[i + 1]), 1 << 30))
            if (w[best], w[best + 1]) not in self.ranks:
                break
            w = merged(w, (w[best], w[best + 1]))
        self.cache[piece] = [self.vocab[t] for t in w]
        return self.cache[piece]

    def encode(self, text):
        ids = []
        for part in re.split("(" + "|".join(map(re.escape, SPECIAL)) + ")", text):
            if part in SPECIAL:
                ids.append(self.vocab[part])
            else:
                for piece in ASCII_PATTERN.findall(part):
                    ids += self.piece(piece)
        return ids

    def decode(self, ids):
        back, inverse = {v: k for k, v in self.vocab.items()}, {c: b for b, c in ALPHABET.items()}
        return b"".join(
            back[i].encode() if back[i] in SPECIAL else bytes(inverse[c] for c in back[i])
            for i in ids
        ).decode("utf-8", "replace")

    @staticmethod
    def load(folder):
        data = json.load(open(os.path.join(folder, "tokenizer.json")))
        vocab = dict(
            data["model"]["vocab"], **{a["content"]: a["id"] for a in data["added_tokens"]}
        )
        return Tokenizer(vocab, [tuple(m.split(" ")) for m in data["model"]["merges"]])

    def save(self, folder):
        added = [
            dict(
                id=self.vocab[s],
                content=s,
                single_word=False,
                lstrip=False,
                rstrip=False,
                normalized=False,
                special=True,
            )
            for s in SPECIAL
        ]
        byte_level = dict(
            type="ByteLevel", add_prefix_space=False, trim_offsets=False, use_regex=False
        )
        merges = sorted(self.ranks, key=self.ranks.get)
        data = dict(
            version="1.0",
            truncation=None,
            padding=None,
            added_tokens=added,
            normalizer=dict(type="NFC"),
            pre_tokenizer=dict(
                type="Sequence",
                pretokenizers=[
                    dict(
                        type="Split", pattern=dict(Regex=PATTERN), behavior="Isolated", invert=False
                    ),
                    byte_level,
                ],
            ),
            post_processor=dict(byte_level),
            decoder=dict(byte_level),
            model=dict(
                type="BPE",
                dropout=None,
                unk_token=None,
                continuing_subword_prefix="",
                end_of_word_suffix="",
                fuse_unk=False,
                byte_fallback=False,
                vocab={k: v for k, v in self.vocab.items() if k not in SPECIAL},
                merges=[" ".join(p) for p in merges],
            ),
        )
        json.dump(
            data, open(os.path.join(folder, "tokenizer.json"), "w"), ensure_ascii=False, indent=0
        )
        json.dump(
            dict(
                tokenizer_class="PreTrainedTokenizerFast",
                model_max_length=1024,
                eos_token="<|im_end|>",
                pad_token="<|endoftext|>",
                add_bos_token=False,
                clean_up_tokenization_spaces=False,
                chat_template=TEMPLATE,
            ),
            open(os.path.join(folder, "tokenizer_config.json"), "w"),
            indent=1,
        )


class Config:
    vocab_size = 0  # known when the tokenizer is
    hidden, layers, heads, kv_heads, head_dim, ff = 256, 4, 4, 2, 64, 640
    theta, eps, positions = 10000.0, 1e-5, 1024


class Layer(torch.nn.Module):
    def __init__(self, c):
        super().__init__()
        linear = lambda i, o: torch.nn.Linear(i, o, bias=False)
        self.q, self.k, self.v = (
            linear(c.hidden, c.heads * c.head_dim),
            linear(c.hidden, c.kv_heads * c.head_dim),
            linear(c.hidden, c.kv_heads * c.head_dim),
        )
        self.o = linear(c.heads * c.head_dim, c.hidden)
        self.gate, self.up, self.down = (
            linear(c.hidden, c.ff),
            linear(c.hidden, c.ff),
            linear(c.ff, c.hidden),
        )
        self.norm1, self.norm2 = torch.nn.Parameter(torch.ones(c.hidden)), torch.nn.Parameter(
            torch.ones(c.hidden)
        )
        self.c = c

    def norm(self, x, w):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.c.eps) * w

    def forward(self, x, cos, sin, mask):
        c, (b, t, _) = self.c, x.shape
        h = self.norm(x, self.norm1)
        split = lambda y, n: y.view(b, t, n, c.head_dim).transpose(1, 2)
        turn = lambda y: torch.cat((-y[..., c.head_dim // 2 :], y[..., : c.head_dim // 2]), -1)
        q, k, v = (
            split(self.q(h), c.heads),
            split(self.k(h), c.kv_heads),
            split(self.v(h), c.kv_heads),
        )
        q, k = q * cos + turn(q) * sin, k * cos + turn(k) * sin
        k, v = (y.repeat_interleave(c.heads // c.kv_heads, 1) for y in (k, v))
        a = torch.softmax(q @ k.transpose(-1, -2) / math.sqrt(c.head_dim) + mask, -1) @ v
        x = x + self.o(a.transpose(1, 2).reshape(b, t, -1))
        h = self.norm(x, self.norm2)
        return x + self.down(F.silu(self.gate(h)) * self.up(h))


class Model(torch.nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c, self.embed = c, torch.nn.Embedding(c.vocab_size, c.hidden)
        self.layers, self.norm = torch.nn.ModuleList(
            Layer(c) for _ in range(c.layers)
        ), torch.nn.Parameter(torch.ones(c.hidden))
        for name, p in self.named_parameters():
            if p.dim() == 2:
                torch.nn.init.normal_(
                    p,
                    std=(
                        0.02
                        if not name.endswith(("o.weight", "down.weight"))
                        else 0.02 / math.sqrt(2 * c.layers)
                    ),
                )
        angle = torch.outer(
            torch.arange(c.positions).float(),
            1.0 / c.theta ** (torch.arange(0, c.head_dim, 2).float() / c.head_dim),
        )
        angle = torch.cat((angle, angle), -1)
        self.cos, self.sin = angle.cos(), angle.sin()

    def forward(self, ids):
        t = ids.shape[1]
        x, mask = self.embed(ids), torch.full((t, t), -1e9).triu(1)
        for layer in self.layers:
            x = layer(x, self.cos[:t], self.sin[:t], mask)
        return self.layers[0].norm(x, self.norm) @ self.embed.weight.t()

    def tensors(self):
        """Hugging Face's names -> this model's tensors."""
        names = {
            "q": "self_attn.q_proj",
            "k": "self_attn.k_proj",
            "v": "self_attn.v_proj",
            "o": "self_attn.o_proj",
            "gate": "mlp.gate_proj",
            "up": "mlp.up_proj",
            "down": "mlp.down_proj",
        }
        tensors = {"model.embed_tokens.weight": self.embed.weight, "model.norm.weight": self.norm}
        for i, layer in enumerate(self.layers):
            for n, hf in names.items():
                tensors[f"model.layers.{i}.{hf}.weight"] = getattr(layer, n).weight
            tensors[f"model.layers.{i}.input_layernorm.weight"] = layer.norm1
            tensors[f"model.layers.{i}.post_attention_layernorm.weight"] = layer.norm2
        return tensors

    def load(self, folder):
        raw = open(os.path.join(folder, "model.safetensors"), "rb").read()
        size = struct.unpack("<Q", raw[:8])[0]
        header, body = json.loads(raw[8 : 8 + size]), raw[8 + size :]
        with torch.no_grad():
            for name, t in self.tensors().items():
                start, end = header[name]["data_offsets"]
                bits = (
                    numpy.frombuffer(body[start:end], dtype=numpy.uint16).astype(numpy.uint32) << 16
                )
                t.copy_(
                    torch.from_numpy(bits.view(numpy.float32).reshape(header[name]["shape"]).copy())
                )

    def save(self, folder):
        tensors = self.tensors()
        header, blobs, at = {"__metadata__": {"format": "pt"}}, [], 0
        for name, t in tensors.items():
            bits = t.detach().float().numpy().view(numpy.uint32)
            data = (((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(numpy.uint16)).tobytes()
            header[name] = dict(
                dtype="BF16", shape=list(t.shape), data_offsets=[at, at + len(data)]
            )
            blobs.append(data)
            at += len(data)
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        with open(os.path.join(folder, "model.safetensors"), "wb") as f:
            f.write(struct.pack("<Q", len(text)) + text + b"".join(blobs))
        c = self.c
        end = c.vocab_size - 1
        json.dump(
            dict(
                architectures=["LlamaForCausalLM"],
                model_type="llama",
                vocab_size=c.vocab_size,
                hidden_size=c.hidden,
                intermediate_size=c.ff,
                num_hidden_layers=c.layers,
                num_attention_heads=c.heads,
                num_key_value_heads=c.kv_heads,
                head_dim=c.head_dim,
                hidden_act="silu",
                max_position_embeddings=c.positions,
                rms_norm_eps=c.eps,
                rope_theta=c.theta,
                tie_word_embeddings=True,
                attention_bias=False,
                mlp_bias=False,
                torch_dtype="bfloat16",
                bos_token_id=None,
                eos_token_id=end,
                pad_token_id=end - 2,
            ),
            open(os.path.join(folder, "config.json"), "w"),
            indent=1,
        )
        json.dump(
            dict(eos_token_id=[end, end - 2], pad_token_id=end - 2, do_sample=False),
            open(os.path.join(folder, "generation_config.json"), "w"),
        )


def prompt(messages):
    return (
        "".join(f"<|im_start|>{m['role']}\n{m['content']}<|im_end|>\n" for m in messages)
        + "<|im_start|>assistant\n"
    )


def batches(tokenizer, rng, count, filler_max, document_weight, copies):
    """Endless (ids, weight) pairs; rows of like length share a batch.

    filler_max() says how long documents may be now.
    """
    while True:
        rows = []
        for _ in range(count * 16):
            j = documents.job(rng, filler_max=filler_max())
            p, a = tokenizer.encode(prompt(j["messages"])), tokenizer.encode(
                j["reference"] + "<|im_end|>"
            )
            rows.append((p + a, [document_weight] * (len(p) - 1) + [1.0] * len(a)))
        # Random words, twice: teaches to copy, and keeps the words' embeddings apart.
        for _ in range(int(count * 16 * copies)):
            half = [
                rng.randrange(len(tokenizer.vocab) - len(SPECIAL))
                for _ in range(rng.randint(20, 90))
            ]
            rows[rng.randrange(len(rows))] = (
                half + half,
                [0.0] * len(half) + [1.0] * (len(half) - 1),
            )
        rows.sort(key=lambda row: len(row[0]))
        groups = [rows[i : i + count] for i in range(0, len(rows), count)]
        rng.shuffle(groups)
        for group in groups:
            width = max(len(row[0]) for row in group)
            ids, weight = torch.zeros(count, width, dtype=torch.long), torch.zeros(count, width - 1)
            for i, (tokens, w) in enumerate(group):
                ids[i, : len(tokens)] = torch.tensor(tokens)
                weight[i, : len(w)] = torch.tensor(w)
            yield ids, weight


def evaluate(model, tokenizer, count=30, seed=0):
    rng, right, total = documents.stream("test", seed), collections.Counter(), collections.Counter()
    end = tokenizer.vocab["<|im_end|>"]
    with torch.no_grad():
        for _ in range(count):
            j = documents.job(rng)
            ids = tokenizer.encode(prompt(j["messages"]))
            out = []
            for _ in range(140):
                token = int(model(torch.tensor([ids + out]))[0, -1].argmax())
                if token == end:
                    break
                out.append(token)
            total[j["task"]] += 1
            right[j["task"]] += tokenizer.decode(out) == j["reference"]
    return {t: f"{right[t]}/{total[t]}" for t in total}


def parse_options():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--out", default="scribe", help="folder of the model (default: scribe)")
    add("--minutes", type=float, default=90, help="wall-clock time to train (default: 90)")
    add("--batch", type=int, default=16, help="rows of a step")
    add("--rate", type=float, default=2e-3, help="learning rate at its highest")
    add("--vocab", type=int, default=1536, help="size of the vocabulary")
    add("--resume", help="folder of a model to go on from")
    add("--copies", type=float, default=0.25, help="share of rows that only train copying")
    add("--document-weight", type=float, default=0.1, help="of a document's token; an answer's: 1")
    add("--seed", type=int, default=0, help="of the training documents")
    add("--bf16", action="store_true", help="faster on CPUs with AMX, slower on others")
    add("--threads", type=int, default=os.cpu_count())
    add("--keep", help="folder for a copy of the model every 500 steps")
    return parser.parse_args()


def train_tokenizer(rng, size):
    texts = []
    for _ in range(3000):
        j = documents.job(rng)
        texts += [m["content"] for m in j["messages"]]
        texts += [j["reference"], "user\nassistant\nsystem\n"]
    return Tokenizer.train(texts, size)


def make_optimizer(model):
    decay = [p for p in model.parameters() if p.dim() == 2]
    rest = [p for p in model.parameters() if p.dim() != 2]
    groups = [dict(params=decay, weight_decay=0.05), dict(params=rest, weight_decay=0.0)]
    return torch.optim.AdamW(groups, betas=(0.9, 0.98))


def learning_rate(peak, step, done):
    """A short warm-up over steps, then a cosine over the share of the time that is done."""
    return peak * min(1, (step + 1) / 100) * (0.5 * (1 + math.cos(math.pi * done)) * 0.98 + 0.02)


def train_step(model, optimizer, ids, weight, bf16):
    """-> the mean loss of the answers' tokens."""
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
        logits = model(ids[:, :-1])
    losses = F.cross_entropy(logits.float().transpose(1, 2), ids[:, 1:], reduction="none")
    loss = (losses * weight).sum() / weight.sum()
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return float((losses.detach() * (weight == 1)).sum() / (weight == 1).sum())


def train(model, tokenizer, rng, options):
    optimizer = make_optimizer(model)
    start, step, seen, smooth, done = time.time(), 0, 0, None, 0.0
    feed = batches(
        tokenizer,
        rng,
        options.batch,
        lambda: 4 if done < 0.25 else 10,
        options.document_weight,
        options.copies,
    )
    while True:
        done = (time.time() - start) / (60 * options.minutes)
        if done >= 1:
            break
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(options.rate, step, done)
        ids, weight = next(feed)
        answer = train_step(model, optimizer, ids, weight, options.bf16)
        step, seen = step + 1, seen + ids.numel()
        smooth = answer if smooth is None else 0.95 * smooth + 0.05 * answer
        if step % 25 == 0:
            rate = seen / (time.time() - start)
            text = f"step {step} done {done:.3f} tokens {seen} rate {rate:.0f}/s loss {smooth:.4f}"
            print(text, flush=True)
        if step % 500 == 0:
            print("test", evaluate(model, tokenizer), flush=True)
            model.save(options.out)
            if options.keep:
                os.makedirs(f"{options.keep}/{step}", exist_ok=True)
                tokenizer.save(f"{options.keep}/{step}")
                model.save(f"{options.keep}/{step}")


def main():
    options = parse_options()
    torch.manual_seed(1)
    torch.set_num_threads(options.threads)
    os.makedirs(options.out, exist_ok=True)
    rng = documents.stream("train", options.seed)
    if options.resume:
        tokenizer = Tokenizer.load(options.resume)
    else:
        tokenizer = train_tokenizer(rng, options.vocab)
    tokenizer.save(options.out)
    Config.vocab_size = len(tokenizer.vocab)
    model = Model(Config)
    if options.resume:
        model.load(options.resume)
    parameters = sum(p.numel() for p in model.parameters())
    print("vocabulary", Config.vocab_size, "parameters", parameters, flush=True)
    train(model, tokenizer, rng, options)
    model.save(options.out)
    print("test", evaluate(model, tokenizer, 100, 1), flush=True)


if __name__ == "__main__":
    main()
