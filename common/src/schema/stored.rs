use crate::ids::ColumnId;
use crate::{Error, Result};
use bytes::{BufMut, Bytes, BytesMut};

const DECLARED: u8 = 0x00;
const NAMED: u8 = 0x01;

/// The qualifier of the cell that keeps a row alive that has no other cell (a typed row of key parts
/// only). It lies in the table's first family and is never shown.
pub const ROW_MARKER: &[u8] = &[];

/// Declared columns of which the stored bytes are at hand: cells by the million share them without counting references.
const AT_HAND: usize = 1024;
static DECLARED_COLUMNS: [[u8; 5]; AT_HAND] = {
    let mut all = [[DECLARED, 0, 0, 0, 0]; AT_HAND];
    let mut id = 0;
    while id < AT_HAND {
        let [_, _, high, low] = (id as u32).to_be_bytes();
        (all[id][3], all[id][4]) = (high, low);
        id += 1;
    }
    all
};

fn declared(id: ColumnId) -> Bytes {
    match DECLARED_COLUMNS.get(id.0 as usize) {
        Some(bytes) => Bytes::from_static(bytes),
        None => [&[DECLARED], id.0.to_be_bytes().as_slice()].concat().into(),
    }
}

/// A qualifier as files and the log hold it: `00` + column id (4 bytes big-endian) for a declared
/// column, `01` + the qualifier for an undeclared one, empty for the [row marker](ROW_MARKER).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum StoredQualifier {
    /// A declared column.
    Declared(ColumnId),
    /// An undeclared attribute or a plain Bigtable column.
    Named(Bytes),
    /// See [`ROW_MARKER`].
    Marker,
}

impl StoredQualifier {
    /// The stored bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        match self {
            Self::Declared(id) => declared(*id),
            Self::Named(name) => {
                let mut out = BytesMut::with_capacity(1 + name.len());
                out.put_u8(NAMED);
                out.put_slice(name);
                out.freeze()
            }
            Self::Marker => Bytes::from_static(ROW_MARKER),
        }
    }

    /// Stored bytes that are cheap to clone, if they are those of a declared column; else as they are.
    #[must_use]
    pub fn shared(stored: Bytes) -> Bytes {
        match stored.as_ref() {
            [DECLARED, a, b, c, d] => declared(ColumnId(u32::from_be_bytes([*a, *b, *c, *d]))),
            _ => stored,
        }
    }

    /// Reads stored bytes; a name shares them.
    ///
    /// # Errors
    /// `Corrupt` for an unknown tag or a short id.
    pub fn decode(stored: &Bytes) -> Result<Self> {
        match stored.as_ref() {
            [] => Ok(Self::Marker),
            [DECLARED, id @ ..] => <[u8; 4]>::try_from(id)
                .map(|id| Self::Declared(ColumnId(u32::from_be_bytes(id))))
                .map_err(|_| Error::corrupt(format!("stored qualifier: column id of {} bytes", id.len()))),
            [NAMED, ..] => Ok(Self::Named(stored.slice(1..))),
            [tag, ..] => Err(Error::corrupt(format!("stored qualifier: tag {tag:#04x}"))),
        }
    }
}
