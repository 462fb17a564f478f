"""Makes bpe_text.txt and hf_bpe.json: merges and token ids of Hugging Face tokenizers' byte-level BPE on a generated text.

usage: python hf_bpe.py      (tokenizers 0.23; no other package)

A plain trainer below repeats the merges from the rules stated in RULES, and the script stops if any differs,
so the rules are checked, not guessed.
"""
import json, os, zlib
os.environ["TOKENIZERS_PARALLELISM"] = "false"
import tokenizers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

VOCAB, TEXT_BYTES = 1024, 48_000
RULES = """Pieces: the GPT-2 expression 's|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+ ; no pair crosses a piece. \\s is the Unicode property White_Space: 9-13, 32, U+0085, U+00A0, U+1680, U+2000-200A, U+2028, U+2029, U+202F, U+205F, U+3000; not 28-31, U+180E (which \\s of PCRE2 holds) or U+200B. Letters and numbers are those of Unicode 16.0.
Bytes are written in the GPT-2 alphabet: 0x21-0x7E, 0xA1-0xAC and 0xAE-0xFF stand for themselves as code points; the other 68 bytes, in order, become U+0100, U+0101, ...
Base ids 0-255 are the alphabet sorted by code point, so '!' is 0, and byte 0x00 (U+0100) comes after 0xFF: see "base_id_of_byte". Merge number m makes id 256 + m.
Counts: every adjacent pair of every piece, overlaps included ("aaa" holds (a, a) twice), times the piece's count.
Each step takes the pair with the highest count; between equal counts the pair with the smallest left id, then the smallest right id. Merging goes from left to right in a piece.
Stops at the vocabulary size, or when no pair is left (min_frequency 0).
"merges" trains on the whole text as one sequence. "file_merges" trains from the file: Hugging Face then reads it line by line with the line ends kept, so that no piece holds more than one line end."""

WORDS = """the of and to a in is it that was for on are as with his they at be this from have or by one had not but what all were when we there can an
your which their said if do will each about how up out them then she many some so these would other into has more her two like him see time could no make
than first been its who now people my made over did down only way find use may water long little very after words called just where most know get through
back much before go good new write our used me man too any day same right look think also around another came come work three word must because does part
even place well such here take why things help put years different away again off went old number great tell men say small every found still between name
should home big give air line set own under read last never us left end along while might next sound below saw something thought both few those always looked
show large often together asked house world going want school important until form food keep children feet land side without boy once animals life enough took
sometimes four head above kind began almost live page got earth need far hand high year mother light parts country father let night following picture being study
second eyes soon times story boys since white days ever paper hard near sentence better best across during today others however sure means knew try told young
miles sun ways thing whole hear example heard several change answer room sea against top turned learn point city play toward five using himself usually
compute budget optimal training gradient parameter attention tokenizer kernel measurement uncertainty allocation""".split()
CONTRACTIONS = ["don't", "it's", "we're", "I've", "I'm", "they'll", "he'd", "DON'T", "can't", "o'clock", "rock'n'roll"]
FOREIGN = ["café", "naïve", "über", "façade", "Ærøskøbing", "niño", "Straße", "żółć", "привет", "мир", "Ελλάδα", "日本語", "東京", "你好世界", "한국어", "العربية", "שלום", "हिन्दी", "e\u0301te\u0301", "🙂", "🚀🚀", "👩‍💻", "€", "½", "x²", "Ⅷ", "٣٤"]
PUNCT = [".", ",", ",", ".", ";", ":", "!", "?", "...", " -", " --", "?!", '"', ")", " (", "&", "/", "#", "=>", "_"]
SPACES = ["  ", "   ", "\t", "\n", "\n", "\n\n", "\n\n\n", " \n", "\n  ", "\r\n", "        ", "\u00a0", "\u3000"]
SAMPLES = ["", " ", "  ", "\n", "hello", "hello world", " hello  world ", "the people of the world", "The The THE tHe", "I don't know what it's for; we're sure they'll come.",
           "DON'T SHOUT, I'M HERE", "12345 1 22 333 4444", "3.14159e-10", "a" * 3, "a" * 7, "aaaa bbbb", "tab\tseparated\tvalues\n", "line one\nline two\r\nline three\n\n\nend",
           "   leading", "trailing   ", "a  b   c    d", "x\u00a0y\u2003z\u3000w", "zero\u200bwidth\u180ejoin", "next\u0085line\u2028sep\u2029par", "vt\x0bff\x0cfs\x1cus\x1fend",
           "café naïve Straße", "e\u0301te\u0301 combining", "日本語と中文和한국어", "🙂🚀👩‍💻🇫🇷", "½ x² Ⅷ ٣٤ ①", "привет, мир!", "<|endoftext|>", "if (a[i] != b->c) { return -1; }", "'s 't 're 've 'm 'll 'd ''s",
           "the optimal allocation of a compute budget between parameters and training tokens", "\ufeffbom", "\U0010ffff\ue000"]


def mix(z):
    """splitmix64's finaliser: the generator of the text"""
    m = (1 << 64) - 1
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & m
    z = (z ^ z >> 27) * 0x94D049BB133111EB & m
    return z ^ z >> 31


def make_text():
    state, out, size = 0, [], 0

    def rnd(n):
        nonlocal state
        state = state + 0x9E3779B97F4A7C15 & (1 << 64) - 1
        return mix(state) % n

    while size < TEXT_BYTES:
        k = rnd(100)
        if k < 80:
            w = WORDS[rnd(rnd(rnd(len(WORDS)) + 1) + 1)]
            w = w.capitalize() if rnd(12) == 0 else w
        elif k < 86:
            w = str(rnd(10 ** (1 + rnd(6))))
        elif k < 92:
            w = CONTRACTIONS[rnd(len(CONTRACTIONS))]
        else:
            w = FOREIGN[rnd(len(FOREIGN))]
        w += PUNCT[rnd(len(PUNCT))] if rnd(6) == 0 else ""
        w += SPACES[rnd(len(SPACES))] if rnd(12) == 0 else " "
        out.append(w)
        size += len(w.encode())
    return "".join(out) + "\n"


def alphabet():
    """the GPT-2 character of each byte"""
    own = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    rest = iter(range(256, 512))
    return [chr(b) if b in own else chr(next(rest)) for b in range(256)]


def hf_train(feed):
    tok = Tokenizer(models.BPE())
    tok.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tok.decoder = decoders.ByteLevel()
    feed(tok, trainers.BpeTrainer(vocab_size=VOCAB, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    return tok, [tuple(m) for m in json.loads(tok.to_str())["model"]["merges"]]


def plain_train(sequences):
    """the same merges from RULES alone, recounting after every merge; only the split into pieces is Hugging Face's"""
    split, pieces = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True), {}
    for s in sequences:
        for w, _ in split.pre_tokenize_str(s):
            pieces[w] = pieces.get(w, 0) + 1
    names = sorted(alphabet())
    ids = {c: i for i, c in enumerate(names)}
    words, merges, ties = [([ids[c] for c in w], n) for w, n in pieces.items()], [], 0
    while len(names) < VOCAB:
        count = {}
        for w, n in words:
            for p in zip(w, w[1:]):
                count[p] = count.get(p, 0) + n
        if not count:
            break
        best = min(count, key=lambda p: (-count[p], p))
        ties += list(count.values()).count(count[best]) > 1
        merges.append((names[best[0]], names[best[1]]))
        new = ids.setdefault(names[best[0]] + names[best[1]], len(names))
        if new == len(names):
            names.append(names[best[0]] + names[best[1]])
        for w, _ in words:
            i = 0
            while i + 1 < len(w):
                if (w[i], w[i + 1]) == best:
                    w[i:i + 2] = [new]
                i += 1
    return merges, ties


if __name__ == "__main__":
    here = os.path.dirname(os.path.abspath(__file__))
    path, text = os.path.join(here, "bpe_text.txt"), make_text()
    with open(path, "w", encoding="utf-8", newline="") as f:
        f.write(text)
    tok, merges = hf_train(lambda t, how: t.train_from_iterator([text], how))
    _, file_merges = hf_train(lambda t, how: t.train([path], how))
    mine, ties = plain_train([text])
    assert mine == merges, "the rules do not reproduce the whole-text merges"
    assert plain_train(text.replace("\n", "\n\0").split("\0"))[0] == file_merges, "the rules do not reproduce the line-by-line merges"
    vocab = [t for t, _ in sorted(tok.get_vocab().items(), key=lambda kv: kv[1])]
    byte_chars = alphabet()
    assert vocab[:256] == sorted(byte_chars) and vocab[256:] == [a + b for a, b in merges]
    rows = [dict(text=s, ids=tok.encode(s).ids) for s in SAMPLES]
    assert all(tok.decode(r["ids"], skip_special_tokens=False) == r["text"] for r in rows)
    whole = tok.encode(text).ids
    crc = zlib.crc32(b"".join(i.to_bytes(4, "little") for i in whole))
    print(f"tokenizers {tokenizers.__version__}: {len(text.encode())} bytes, {len(merges)} merges ({ties} decided by the tie rule, {sum(a != b for a, b in zip(merges, file_merges))} places differ when trained line by line), {len(whole)} tokens")
    head = dict(about=__doc__.splitlines()[0], tokenizers=tokenizers.__version__, vocab_size=VOCAB, text="bpe_text.txt", text_bytes=len(text.encode()), rules=RULES.splitlines(), ties=ties,
                base_id_of_byte=[vocab.index(c) for c in byte_chars], text_tokens=len(whole), text_ids_crc32=f"{crc:08x}", text_ids_note="zlib's CRC-32 of the ids of the whole text as little-endian u32")
    with open(os.path.join(here, "hf_bpe.json"), "w") as f:
        f.write("{\n" + "".join(f" {json.dumps(k)}: {json.dumps(v)},\n" for k, v in head.items()))
        f.write(' "samples": [\n' + ",\n".join("  " + json.dumps(r) for r in rows) + "\n ],\n")
        f.write(' "merges": ' + json.dumps(merges) + ',\n "file_merges": ' + json.dumps(file_merges) + ',\n "vocab": ' + json.dumps(vocab) + "\n}\n")
