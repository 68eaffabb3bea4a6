use crate::rows::values::{BASE64, is_json, write_json, write_string};
use base64::Engine;
use bytes::Bytes;
use common::row::{Cell, Row};
use common::schema::{Column, StoredQualifier, Table};
use common::value::Value;
use common::{Error, Result};

/// How a row is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shape {
    /// Names and values; of each column the newest.
    #[default]
    Values,
    /// Key parts, and a list of all `cells` with family, qualifier and timestamp.
    Cells,
}

/// Appends members to a JSON object.
struct Members<'a> {
    out: &'a mut String,
    first: bool,
}

impl<'a> Members<'a> {
    fn begin(out: &'a mut String) -> Self {
        out.push('{');
        Self { out, first: true }
    }

    /// Writes a name; the value follows.
    fn name(&mut self, name: &str) -> &mut String {
        if !self.first {
            self.out.push(',');
        }
        self.first = false;
        write_string(name, self.out);
        self.out.push(':');
        self.out
    }

    fn end(self) {
        self.out.push('}');
    }
}

pub(super) fn write(table: &Table, row: &Row, shape: Shape, out: &mut String) -> Result<()> {
    let mut members = Members::begin(out);
    write_key(table, row, &mut members)?;
    match shape {
        Shape::Cells => write_cells(table, row, members.name("cells"))?,
        Shape::Values if table.key.is_empty() => write_families(table, row, &mut members)?,
        Shape::Values => write_values(table, row, &mut members)?,
    }
    members.end();
    Ok(())
}

fn write_key(table: &Table, row: &Row, members: &mut Members<'_>) -> Result<()> {
    if table.key.is_empty() {
        write_bytes(&row.key, members.name(Table::ROW_KEY));
        return Ok(());
    }
    for (part, value) in table.key.iter().zip(table.key_schema().decode(&row.key)?).filter(|(p, _)| !p.hidden) {
        let out = members.name(&part.name);
        match value {
            Some(value) => write_json(&value, out),
            None => out.push_str("null"),
        }
    }
    Ok(())
}

/// A row's cells, newest version of each column only: they come newest first.
fn newest(row: &Row) -> impl Iterator<Item = &Cell> {
    let same = |a: &Cell, b: &Cell| a.family == b.family && a.qualifier == b.qualifier;
    row.cells.iter().enumerate().filter(move |(i, c)| *i == 0 || !same(&row.cells[i - 1], c)).map(|(_, c)| c)
}

fn write_values(table: &Table, row: &Row, members: &mut Members<'_>) -> Result<()> {
    for column in &table.columns {
        let stored = column.stored();
        if let Some(cell) = newest(row).find(|c| c.family == column.family && c.qualifier == stored) {
            write_typed(column, &cell.value, members.name(&column.name))?;
        }
    }
    for cell in newest(row).filter(|c| Some(c.family) == table.undeclared) {
        if let StoredQualifier::Named(name) = StoredQualifier::decode(&cell.qualifier)? {
            let name = String::from_utf8_lossy(&name);
            // A column that was declared later hides the attribute of its name.
            if table.column(&name).is_none() && table.key_part(&name).is_none() {
                write_attribute(&cell.value, members.name(&name));
            }
        }
    }
    Ok(())
}

fn write_typed(column: &Column, cell: &Bytes, out: &mut String) -> Result<()> {
    let value = Value::from_cell(column.ty, cell).map_err(|e| e.context(format!("column '{}'", column.name)))?;
    write_json(&value, out);
    Ok(())
}

/// An undeclared attribute as it came in; what some other client wrote as bytes.
fn write_attribute(value: &Bytes, out: &mut String) {
    match std::str::from_utf8(value) {
        Ok(text) if is_json(text) => out.push_str(text),
        _ => write_bytes(value, out),
    }
}

fn write_bytes(bytes: &[u8], out: &mut String) {
    match std::str::from_utf8(bytes) {
        Ok(text) => write_string(text, out),
        Err(_) => {
            out.push_str("{\"base64\":");
            write_string(&BASE64.encode(bytes), out);
            out.push('}');
        }
    }
}

/// The cells of a table without key parts, by family.
fn write_families(table: &Table, row: &Row, members: &mut Members<'_>) -> Result<()> {
    for family in table.families.iter().filter(|f| !f.hidden) {
        let mut cells = newest(row).filter(|c| c.family == family.id && !c.qualifier.is_empty()).peekable();
        if cells.peek().is_none() {
            continue;
        }
        let mut columns = Members::begin(members.name(&family.name));
        for cell in cells {
            let (name, declared) = qualifier(table, cell)?;
            write_cell(table, cell, declared, columns.name(&String::from_utf8_lossy(&name)))?;
        }
        columns.end();
    }
    Ok(())
}

/// The qualifier that clients know, and the column declared under it.
fn qualifier<'t>(table: &'t Table, cell: &Cell) -> Result<(Bytes, Option<&'t Column>)> {
    match StoredQualifier::decode(&cell.qualifier)? {
        StoredQualifier::Declared(id) => {
            let column = table.column_by_id(id).ok_or_else(|| Error::corrupt(format!("a cell of column {id}, which is not declared")))?;
            Ok((Bytes::copy_from_slice(column.qualifier.as_bytes()), Some(column)))
        }
        StoredQualifier::Named(name) => Ok((name, None)),
        StoredQualifier::Marker => Ok((Bytes::new(), None)),
    }
}

fn write_cell(table: &Table, cell: &Cell, declared: Option<&Column>, out: &mut String) -> Result<()> {
    match declared {
        Some(column) => write_typed(column, &cell.value, out)?,
        None if Some(cell.family) == table.undeclared => write_attribute(&cell.value, out),
        None => write_bytes(&cell.value, out),
    }
    Ok(())
}

fn write_cells(table: &Table, row: &Row, out: &mut String) -> Result<()> {
    out.push('[');
    let mut first = true;
    // The marker of a row without cells is no cell to anybody else.
    for cell in row.cells.iter().filter(|c| !c.qualifier.is_empty()) {
        let Some(family) = table.family_by_id(cell.family).filter(|f| !f.hidden) else { continue };
        if !first {
            out.push(',');
        }
        first = false;
        let (name, declared) = qualifier(table, cell)?;
        let mut members = Members::begin(out);
        write_string(&family.name, members.name("family"));
        write_bytes(&name, members.name("qualifier"));
        write_string(&cell.timestamp.to_rfc3339(), members.name("timestamp"));
        write_cell(table, cell, declared, members.name("value"))?;
        members.end();
    }
    out.push(']');
    Ok(())
}
