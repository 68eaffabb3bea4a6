//! Which expressions are functions of time that only round down or move.

use super::time_map::{Step, Unit};
use common::time::Micros;
use datafusion::arrow::datatypes::{DataType, IntervalMonthDayNano, TimeUnit};
use datafusion::logical_expr::{Cast, Expr, Operator, TryCast};
use datafusion::scalar::ScalarValue;

/// `expr` as one step of time over another expression: `None` if it is anything else.
/// The step is `None` for a change of type that keeps the time.
pub(super) fn step(expr: &Expr) -> Option<(&Expr, Option<Step>)> {
    match expr {
        Expr::Alias(alias) => Some((&alias.expr, None)),
        Expr::Cast(Cast { expr, field }) | Expr::TryCast(TryCast { expr, field }) => Some((expr, cast(field.data_type())?)),
        Expr::ScalarFunction(f) => match (f.func.name(), f.args.as_slice()) {
            ("date_trunc", [unit, of]) => Some((of, Some(Step::Trunc(Unit::parse(&text(unit)?)?)))),
            ("date_bin", [stride, of]) => Some((of, Some(Step::Bin { stride: positive(interval(stride)?)?, origin: 0 }))),
            ("date_bin", [stride, of, origin]) => {
                Some((of, Some(Step::Bin { stride: positive(interval(stride)?)?, origin: instant(origin)?.0 })))
            }
            _ => None,
        },
        Expr::BinaryExpr(b) => match b.op {
            Operator::Plus => interval(&b.right).map(|by| (&*b.left, by)).or_else(|| Some((&*b.right, interval(&b.left)?))),
            Operator::Minus => Some((&*b.left, interval(&b.right)?.checked_neg()?)),
            _ => None,
        }
        .map(|(of, by)| (of, Some(Step::Shift(by)))),
        _ => None,
    }
}

/// A cast that keeps µs, or rounds down to a date.
fn cast(to: &DataType) -> Option<Option<Step>> {
    match to {
        DataType::Timestamp(TimeUnit::Microsecond | TimeUnit::Nanosecond, None) => Some(None),
        DataType::Date32 => Some(Some(Step::Trunc(Unit::Day))),
        _ => None,
    }
}

fn positive(stride: i64) -> Option<i64> {
    (stride > 0).then_some(stride)
}

fn literal(expr: &Expr) -> Option<&ScalarValue> {
    match expr {
        Expr::Literal(value, _) => Some(value),
        Expr::Alias(alias) => literal(&alias.expr),
        _ => None,
    }
}

fn text(expr: &Expr) -> Option<String> {
    match literal(expr)? {
        ScalarValue::Utf8(Some(text)) | ScalarValue::Utf8View(Some(text)) | ScalarValue::LargeUtf8(Some(text)) => Some(text.clone()),
        _ => match expr {
            Expr::Cast(Cast { expr, .. }) => text(expr),
            _ => None,
        },
    }
}

/// µs of an interval without months.
fn interval(expr: &Expr) -> Option<i64> {
    match literal(expr)? {
        ScalarValue::IntervalMonthDayNano(Some(IntervalMonthDayNano { months: 0, days, nanoseconds })) if nanoseconds % 1000 == 0 => {
            i64::from(*days).checked_mul(86_400_000_000)?.checked_add(nanoseconds / 1000)
        }
        ScalarValue::IntervalDayTime(Some(i)) => {
            i64::from(i.days).checked_mul(86_400_000_000)?.checked_add(i64::from(i.milliseconds) * 1000)
        }
        ScalarValue::DurationMicrosecond(Some(us)) => Some(*us),
        ScalarValue::DurationNanosecond(Some(ns)) if ns % 1000 == 0 => Some(ns / 1000),
        _ => None,
    }
}

/// A literal instant.
fn instant(expr: &Expr) -> Option<Micros> {
    if let Expr::Cast(Cast { expr, field }) = expr {
        cast(field.data_type()).filter(Option::is_none)?;
        return instant(expr);
    }
    match literal(expr)? {
        ScalarValue::TimestampMicrosecond(Some(us), None) => Some(Micros(*us)),
        ScalarValue::TimestampNanosecond(Some(ns), None) if ns % 1000 == 0 => Some(Micros(ns / 1000)),
        ScalarValue::TimestampMillisecond(Some(ms), None) => Some(Micros(ms * 1000)),
        ScalarValue::TimestampSecond(Some(s), None) => Some(Micros(s * 1_000_000)),
        ScalarValue::Utf8(Some(text)) | ScalarValue::Utf8View(Some(text)) => Micros::parse(text).ok(),
        _ => None,
    }
}
