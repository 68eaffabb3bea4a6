//! What a scan needs of a row, and where an SSTable has it.

use super::filter::Filter;
use super::projection::{Projection, SlotKind};
use crate::sstable::{Dictionary, Meta};
use bytes::Bytes;
use common::ids::FamilyId;
use common::row::Columns;
use common::schema::{GcRule, Table};
use common::time::Micros;
use common::value::ValueType;

/// The columns that are shown or have a condition, each once, and what each output column is made of.
#[derive(Debug)]
pub(super) struct Needs {
    pub(super) columns: Vec<Need>,
    pub(super) maps: Vec<MapNeed>,
    pub(super) outputs: Vec<Output>,
    /// The column of each of the filter's column conditions.
    pub(super) conditions: Vec<usize>,
}

/// A declared column.
#[derive(Debug)]
pub(super) struct Need {
    pub(super) family: FamilyId,
    pub(super) qualifier: Bytes,
    pub(super) ty: ValueType,
    pub(super) name: String,
}

/// The undeclared columns of a family.
#[derive(Debug)]
pub(super) struct MapNeed {
    pub(super) family: FamilyId,
    /// What their stored qualifiers begin with.
    pub(super) prefix: Bytes,
    pub(super) output: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Output {
    RowKey,
    Part(usize),
    Column(usize),
    Map(usize),
}

impl Needs {
    pub(super) fn new(projection: &Projection, filter: &Filter) -> Self {
        let mut out = Self { columns: Vec::new(), maps: Vec::new(), outputs: Vec::new(), conditions: Vec::new() };
        // Each place is filled below: an output column has one source.
        out.outputs.resize(projection.schema().fields().len(), Output::RowKey);
        for (part, (_, output)) in projection.parts.iter().enumerate() {
            if let Some(output) = output {
                out.outputs[*output] = Output::Part(part);
            }
        }
        for slot in &projection.slots {
            out.outputs[slot.output] = match slot.kind {
                SlotKind::Column(ty) => {
                    let name = projection.schema().field(slot.output).name().clone();
                    Output::Column(out.column(Need { family: slot.family, qualifier: slot.qualifier.clone(), ty, name }))
                }
                SlotKind::Attributes | SlotKind::Family => {
                    out.maps.push(MapNeed { family: slot.family, prefix: slot.qualifier.clone(), output: slot.output });
                    Output::Map(out.maps.len() - 1)
                }
            };
        }
        for c in &filter.columns {
            let need = Need { family: c.family, qualifier: c.qualifier.clone(), ty: c.ty, name: c.name.clone() };
            let at = out.column(need);
            out.conditions.push(at);
        }
        out
    }

    fn column(&mut self, need: Need) -> usize {
        let same = |n: &Need| n.family == need.family && n.qualifier == need.qualifier;
        self.columns.iter().position(same).unwrap_or_else(|| {
            self.columns.push(need);
            self.columns.len() - 1
        })
    }
}

/// Where one SSTable has what a scan needs: places in its dictionary.
#[derive(Debug)]
pub(super) struct Binding {
    /// Of each needed column.
    pub(super) columns: Vec<Option<u32>>,
    /// Of the columns of each needed map, with their names, sorted by these.
    pub(super) maps: Vec<Vec<(u32, Bytes)>>,
    /// By place: whether the index says of each block what values the column has there.
    pub(super) bounded: Vec<bool>,
    /// Columns without a place are nowhere in the SSTable.
    pub(super) complete: bool,
    /// By place: whether the scan looks at the column's values.
    pub(super) wanted: Vec<bool>,
    /// The newest version of a column is not condemned if its timestamp is this or newer.
    pub(super) fresh_from: Micros,
    /// Every column is of a family that the table has: whoever has a cell is a row.
    pub(super) known: bool,
}

impl Binding {
    pub(super) fn new(needs: &Needs, wanted: &Columns, meta: &Meta, table: &Table, now: Micros) -> Self {
        let dictionary = &meta.dictionary;
        let listed = &dictionary.columns;
        let place = |n: &Need| dictionary.place(n.family, &n.qualifier);
        let families: Vec<_> = meta.properties.families.iter().map(|family| table.family_by_id(*family)).collect();
        Self {
            columns: needs.columns.iter().map(place).collect(),
            bounded: listed.iter().map(|c| c.kind.is_some()).collect(),
            complete: dictionary.complete,
            maps: needs.maps.iter().map(|map| map.places(dictionary)).collect(),
            wanted: listed.iter().map(|c| wanted.wants(c.family, &c.qualifier)).collect(),
            fresh_from: families.iter().flatten().map(|f| fresh_from(&f.gc, now)).max().unwrap_or(Micros::MIN),
            known: families.iter().all(Option::is_some),
        }
    }
}

impl MapNeed {
    fn places(&self, dictionary: &Dictionary) -> Vec<(u32, Bytes)> {
        let listed = dictionary.columns.iter().zip(0..);
        let inside = listed.filter(|(c, _)| c.family == self.family && c.qualifier.starts_with(&self.prefix));
        let mut places: Vec<_> = inside.map(|(c, place)| (place, c.qualifier.slice(self.prefix.len()..))).collect();
        places.sort_by(|a, b| a.1.cmp(&b.1));
        places
    }
}

/// The oldest timestamp at which a rule does not condemn the newest version of a column.
fn fresh_from(rule: &GcRule, now: Micros) -> Micros {
    match rule {
        GcRule::KeepAll | GcRule::MaxVersions(_) => Micros::MIN,
        GcRule::MaxAgeSeconds(seconds) => {
            let age = i64::try_from(seconds.saturating_mul(1_000_000)).ok().filter(|age| *age < i64::MAX);
            age.map_or(Micros::MIN, |age| Micros(now.0.saturating_sub(age)))
        }
        // Any rule condemns: the strictest counts; only all together do: the most lenient.
        GcRule::Union(rules) => rules.iter().map(|r| fresh_from(r, now)).max().unwrap_or(Micros::MIN),
        GcRule::Intersection(rules) => rules.iter().map(|r| fresh_from(r, now)).min().unwrap_or(Micros::MIN),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rule() -> impl Strategy<Value = GcRule> {
        let leaf = prop_oneof![Just(GcRule::KeepAll), (1u32..3).prop_map(GcRule::MaxVersions), (0u64..4).prop_map(GcRule::MaxAgeSeconds)];
        leaf.prop_recursive(2, 8, 3, |inner| {
            let rules = prop::collection::vec(inner, 1..3);
            prop_oneof![rules.clone().prop_map(GcRule::Union), rules.prop_map(GcRule::Intersection)]
        })
    }

    proptest! {
        #[test]
        fn newest_versions_are_fresh_as_long_as_they_are_not_condemned(rule in rule(), age in 0i64..5_000_000) {
            let now = Micros(1_000_000_000);
            prop_assert_eq!(now.0 - age >= fresh_from(&rule, now).0, !rule.condemns(0, age), "{:?}", rule);
        }
    }
}
