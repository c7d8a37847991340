// What the first bytes of a score file tell, checked before anything is sent. The server has the last word, in the same words;
// what is written unusually, or can only be seen in the whole file, is left to it.
"use strict";

const HEADER_LIMIT = 64 * 1024;
const ITEM_BYTES = { f2: 2, f4: 4, f8: 8, F16: 2, F32: 4, F64: 8 };
const COMPRESSED = { gzip: [0x1f, 0x8b], zstd: [0x28, 0xb5, 0x2f, 0xfd], bzip2: [0x42, 0x5a, 0x68], xz: [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0] };
const NPY = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59];
const HDF5 = [0x89, 0x48, 0x44, 0x46, 0x0d, 0x0a, 0x1a, 0x0a];
const SHOWN_NAMES = 3;

// Something that is wrong, as the API says it.
class Refused extends Error {
  constructor(problem) {
    super(problem.title);
    this.problem = problem;
  }
}

const latin = (bytes) => Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");
const begins = (bytes, magic) => magic.every((byte, place) => bytes[place] === byte);
const tuple = (sides) => (sides.length === 1 ? `(${sides[0]},)` : `(${sides.join(", ")})`);
const product = (sides) => sides.reduce((whole, side) => whole * side, 1n);

const coded = (sign) => `\\x${sign.charCodeAt(0).toString(16).padStart(2, "0")}`;
const unprintable = (sign) => sign < " " || (sign >= "\x7f" && sign <= "\xa0");

// A text as Python's repr writes it.
function quoted(text, escape = (sign) => (unprintable(sign) ? coded(sign) : sign)) {
  const mark = text.includes("'") && !text.includes('"') ? '"' : "'";
  const named = { "\n": "\\n", "\r": "\\r", "\t": "\\t", "\\": "\\\\", [mark]: `\\${mark}` };
  return mark + Array.from(text, (sign) => named[sign] ?? escape(sign)).join("") + mark;
}

const bytesQuoted = (bytes) => `b${quoted(latin(bytes), (sign) => (sign >= " " && sign <= "~" ? sign : coded(sign)))}`;

// Checks files for one benchmark: `wanted` has its n, N and the most bytes that are taken, `words` the texts of the library.
class ScoreFiles {
  constructor(wanted, words) {
    this.wanted = wanted;
    this.words = words;
  }

  // Returns what the header says, {type, shape}, or null where only the server can tell; throws what is wrong.
  async check(file) {
    if (file.size > this.wanted.limit) {
      throw this.refusal("upload.too_large", `at most ${this.wanted.limit} bytes`, `${file.size} bytes`, this.words.hints.large);
    }
    const start = new Uint8Array(await file.slice(0, HEADER_LIMIT).arrayBuffer());
    const header = this.parse(start);
    if (header === null) return null;
    this.checkDimensions(header.shape);
    if (header.offset !== undefined) this.checkSize(header, BigInt(file.size));
    this.checkShape(header.shape);
    return { type: header.type, shape: tuple(header.shape) };
  }

  refusal(code, expected, got, hint) {
    const title = this.words.titles[code];
    return new Refused({ code, title, expected, got, hint });
  }

  unreadable(got, hint = this.words.hints.save) {
    return this.refusal("scores.unreadable", this.words.formats, got, hint);
  }

  parse(start) {
    if (!start.length) throw this.refusal("scores.empty", this.words.formats, "0 bytes", this.words.hints.save);
    if (begins(start, NPY)) return this.npy(start);
    if (begins(start, [0x50, 0x4b, 3, 4]) || begins(start, [0x50, 0x4b, 5, 6])) return this.npz(start);
    if (start[8] === 0x7b) return this.safetensors(start);
    throw this.unknown(start);
  }

  npy(start) {
    if (start.length < 12 || ![1, 2, 3].includes(start[6])) throw this.unreadable("a truncated header or an unknown .npy version");
    const view = new DataView(start.buffer, start.byteOffset);
    const begin = start[6] === 1 ? 10 : 12;
    const offset = begin + (start[6] === 1 ? view.getUint16(8, true) : view.getUint32(8, true));
    if (offset > HEADER_LIMIT) throw this.unreadable(`a header of ${offset} bytes, over the limit of ${HEADER_LIMIT}`);
    if (offset > start.length) throw this.unreadable("a file that ends within its header");
    const usual = /^\{'descr': '([^']*)', 'fortran_order': (?:True|False), 'shape': \(((?:\d+,? ?)*)\), \}\s*$/;
    const [, descr, sides] = usual.exec(latin(start.subarray(begin, offset))) ?? [];
    if (descr === undefined) return null;
    if (descr === "|O" || descr === "O") {
      throw this.refusal("scores.object", this.words.formats, "an array of Python objects, which would have to be unpickled", this.words.hints.objects);
    }
    const code = descr.slice(1);
    if (!["f2", "f4", "f8"].includes(code) || !"<>=".includes(descr[0])) {
      throw this.refusal("scores.dtype", "float16, float32 or float64", `type ${quoted(descr.slice(0, 60))}`, this.words.hints.save);
    }
    const type = descr[0] === ">" ? descr : `float${8 * ITEM_BYTES[code]}`;
    return { type, itemBytes: ITEM_BYTES[code], shape: (sides.match(/\d+/g) ?? []).map(BigInt), offset };
  }

  // Of an archive only the first file's header is read, and only where it is stored as it is.
  npz(start) {
    const { hints, formats } = this.words;
    if (start[2] === 5) throw this.refusal("scores.empty", formats, "an archive with nothing in it", hints.save);
    if (start.length < 30) throw this.unreadable("an archive that ends within its first header");
    const view = new DataView(start.buffer, start.byteOffset);
    const nameEnd = 30 + view.getUint16(26, true);
    const name = new TextDecoder().decode(start.subarray(30, nameEnd));
    if (/\.(pkl|pickle)$/.test(name)) {
      const got = `an archive with pickled objects (${quoted(name.slice(0, 40))}), as torch.save writes them`;
      throw this.refusal("scores.object", formats, got, hints.pickle);
    }
    if (!name.endsWith(".npy")) throw this.unreadable(`an archive with the file ${quoted(name.slice(0, 40))}`, hints.npz);
    const content = start.slice(nameEnd + view.getUint16(28, true));
    if (view.getUint16(8, true) !== 0 || !begins(content, NPY)) return null;
    const header = this.npy(content);
    return header && { ...header, offset: undefined }; // the size of an archive is another matter
  }

  safetensors(start) {
    const { hints, formats } = this.words;
    const length = new DataView(start.buffer, start.byteOffset).getBigUint64(0, true);
    const offset = 8n + length;
    if (offset > BigInt(HEADER_LIMIT)) throw this.unreadable(`a header of ${offset} bytes, over the limit of ${HEADER_LIMIT}`, hints.safetensors);
    if (offset > BigInt(start.length)) throw this.unreadable("a file that ends within its header");
    let fields;
    try {
      fields = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(start.subarray(8, Number(offset))));
    } catch {
      throw this.unreadable("a header that is not JSON, or names something twice", hints.safetensors);
    }
    const names = Object.keys(fields).filter((name) => name !== "__metadata__");
    if (names.length !== 1) {
      const shown = names.slice(0, SHOWN_NAMES).map((name) => quoted(name.slice(0, 40))).join(", ");
      const more = names.length > SHOWN_NAMES ? ` and ${names.length - SHOWN_NAMES} more` : "";
      throw this.refusal("scores.several", formats, `${names.length} arrays: ${shown}${more}`, hints.safetensors);
    }
    const { dtype, shape } = fields[names[0]] ?? {};
    if (typeof dtype !== "string" || !Array.isArray(shape) || !shape.every((side) => Number.isSafeInteger(side) && side >= 0)) return null;
    if (!(dtype in ITEM_BYTES)) {
      throw this.refusal("scores.dtype", "float16, float32 or float64", `type ${quoted(dtype.slice(0, 60))}`, hints.save);
    }
    return { type: `float${8 * ITEM_BYTES[dtype]}`, itemBytes: ITEM_BYTES[dtype], shape: shape.map(BigInt), offset: Number(offset) };
  }

  unknown(start) {
    const { hints, formats } = this.words;
    if (start[0] === 0x80 && start[1] >= 2 && start[1] <= 5) return this.refusal("scores.object", formats, "a pickle", hints.pickle);
    if (begins(start, HDF5)) return this.unreadable("an HDF5 file", hints.hdf5);
    for (const [name, magic] of Object.entries(COMPRESSED)) {
      if (begins(start, magic)) return this.unreadable(`a file compressed by ${name}`, hints.compressed);
    }
    if (start.every((byte) => (byte >= 0x20 && byte < 0x7f) || byte === 9 || byte === 10 || byte === 13)) {
      return this.unreadable(`a text that begins with ${quoted(latin(start.subarray(0, 20)))}`, hints.text);
    }
    return this.unreadable(`a file that begins with ${bytesQuoted(start.subarray(0, 6))}`);
  }

  checkDimensions(shape) {
    if (shape.length === 2 && shape.every((side) => side > 0n)) return;
    const code = shape.includes(0n) ? "scores.empty" : "scores.shape";
    throw this.refusal(code, "two dimensions (n training examples, N targets)", `shape ${tuple(shape)}`, this.words.hints.table);
  }

  checkSize(header, size) {
    const expected = BigInt(header.offset) + product(header.shape) * BigInt(header.itemBytes);
    if (expected === size) return;
    const claim = `${expected} bytes for ${header.type} ${tuple(header.shape)}`;
    throw this.refusal("scores.truncated", claim, `${size} bytes`, this.words.hints.truncated);
  }

  checkShape(shape) {
    const [n, N] = [BigInt(this.wanted.n), BigInt(this.wanted.N)];
    if (shape[0] === n && shape[1] === N) return;
    const transposed = shape[0] === N && shape[1] === n;
    const got = `shape ${tuple(shape)}${transposed ? ", which is transposed" : ""}`;
    const expected = `shape (${n}, ${N}): one row per training example, one column per target`;
    const { hints } = this.words;
    throw this.refusal(transposed ? "scores.transposed" : "scores.shape", expected, got, transposed ? hints.transposed : hints.shape);
  }
}
