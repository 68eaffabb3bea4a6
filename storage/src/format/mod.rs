//! Names and codecs of everything durable: see `FORMAT.md` for the bytes.
