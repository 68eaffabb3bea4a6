use super::*;
use datafusion::arrow::array::{AsArray, Int64Array, TimestampMicrosecondArray};
use datafusion::arrow::datatypes::Int64Type;
use datafusion::catalog::{MemTable, MemorySchemaProvider, SchemaProvider};

const HOUR: i64 = 3_600_000_000;

/// `raw.events(at, n)`: one row an hour from −24 h to 72 h, n counts the hours.
fn context() -> SessionContext {
    let context = SessionContext::new();
    let hours = -24i64..72;
    let columns: Vec<(&str, datafusion::arrow::array::ArrayRef)> = vec![
        ("at", Arc::new(TimestampMicrosecondArray::from_iter_values(hours.clone().map(|h| h * HOUR)))),
        ("n", Arc::new(Int64Array::from_iter_values(hours))),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let table = MemTable::try_new(batch.schema(), vec![vec![batch]]).unwrap();
    let schema = MemorySchemaProvider::new();
    schema.register_table("events".into(), Arc::new(table)).unwrap();
    context.catalog("datafusion").unwrap().register_schema("raw", Arc::new(schema)).unwrap();
    context
}

async fn sum(context: &SessionContext, plan: LogicalPlan) -> i64 {
    let output = run(context, plan).await.unwrap();
    let sums = output.batches.iter().flat_map(|b| b.column_by_name("n").unwrap().as_primitive::<Int64Type>().iter().flatten());
    sums.sum()
}

#[tokio::test]
async fn inputs_are_restricted_wherever_they_are_read() {
    let context = context();
    let sql = "select a.at, a.n + (select count(*) from raw.events) as n from raw.events a";
    let times = TimeRange { start: Micros(0), end: Micros(2 * HOUR) };
    let inputs = HashMap::from([("raw.events".to_owned(), Restriction { column: "at".into(), date: false, nullable: true, times })]);
    let restricted = restrict_inputs(plan(&context, sql).await.unwrap(), &inputs).unwrap();
    assert_eq!(sum(&context, restricted).await, 2 + (1 + 2));
}

#[tokio::test]
async fn a_bad_query_says_what_is_wrong() {
    let error = plan(&context(), "select missing from raw.events").await.unwrap_err();
    assert!(error.message.contains("missing"), "{error}");
}

#[tokio::test]
async fn only_the_columns_that_count_are_read() {
    let context = context();
    let plan = plan(&context, "select n + 1 as m from (select at, n from raw.events) x where x.at > now()").await.unwrap();
    let read = columns_read(&context, &plan).unwrap();
    assert_eq!(read["raw.events"], BTreeSet::from(["at".to_owned(), "n".to_owned()]));
    let plan = super::plan(&context, "select max(at) as at from raw.events").await.unwrap();
    assert_eq!(columns_read(&context, &plan).unwrap()["raw.events"], BTreeSet::from(["at".to_owned()]));
}

#[tokio::test]
async fn the_earliest_row_is_found() {
    let context = context();
    let part = common::schema::KeyPartSpec {
        name: "at".into(),
        ty: common::value::ValueType::Timestamp,
        descending: false,
        nullable: false,
        hidden: false,
    };
    let spec =
        common::schema::TableSpec { key: vec![part], time_column: Some("at".into()), ..common::schema::TableSpec::named("raw.events") };
    let table = Table::create(common::ids::TableId(1), common::schema::TableKind::Raw, spec).unwrap();
    assert_eq!(earliest(&context, &table).await.unwrap(), Some(Micros(-24 * HOUR)));
}
