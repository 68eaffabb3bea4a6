use crate::ids::ColumnId;
use crate::{Error, Result};
use bytes::{BufMut, Bytes, BytesMut};

const DECLARED: u8 = 0x00;
const NAMED: u8 = 0x01;

/// The qualifier of the cell that keeps a row alive that has no other cell (a typed row of key parts
/// only). It lies in the table's first family and is never shown.
pub const ROW_MARKER: &[u8] = &[];

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
            Self::Declared(id) => {
                let mut out = BytesMut::with_capacity(5);
                out.put_u8(DECLARED);
                out.put_u32(id.0);
                out.freeze()
            }
            Self::Named(name) => {
                let mut out = BytesMut::with_capacity(1 + name.len());
                out.put_u8(NAMED);
                out.put_slice(name);
                out.freeze()
            }
            Self::Marker => Bytes::from_static(ROW_MARKER),
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
