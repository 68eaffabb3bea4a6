//! Random projects out of a small grammar. Every table has the columns `user`, `day` and `n`, so that any may read any.

use rand::Rng;
use rand::rngs::StdRng;

/// One table of a project.
#[derive(Clone, Debug)]
pub(super) struct Defined {
    pub(super) name: String,
    /// Its definition, with `{k}` for its variable.
    yaml: String,
    /// Of the variable.
    k: u32,
}

impl Defined {
    pub(super) fn file(&self) -> (String, String) {
        (format!("{}.yaml", self.name), self.yaml.replace("{k}", &self.k.to_string()))
    }

    /// Another value of its variable.
    pub(super) fn vary(&mut self, random: &mut StdRng) {
        self.k = random.random_range(0..6);
    }
}

/// How a table gets its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// One row a user and day, in windows.
    Days,
    /// One row a user and day, by key.
    Keys,
    /// One row a user, folded.
    Users,
}

/// Queries over raw tables, each giving one row a user and day.
const BASE: [&str; 4] = [
    r#"select "user", at::date as day, sum(n) as n from raw.events where n >= {k} group by 1, 2"#,
    r#"select e."user", e.at::date as day, count(*) + max(length(u.country)) as n from raw.events e join raw.users u on u."user" = e."user" where e.n >= {k} group by 1, 2"#,
    r#"select e."user", e.at::date as day, count(u.country) as n from raw.events e left join raw.users u on u."user" = e."user" and u.country <> 'c{k}' group by 1, 2"#,
    // Sessions with a gap of three hours, by the day in which they begin, whatever midnight they cross.
    r#"select "user", begins::date as day, max(length) + {k} as n from (
         select "user", min(at) as begins, count(*) as length from (
           select "user", at, id, sum(starts) over (partition by "user" order by at, id) as session from (
             select "user", at, id, case when at - lag(at) over (partition by "user" order by at, id) <= interval '3 hours' then 0 else 1 end as starts from raw.events
           ) marked) numbered group by "user", session) sessions group by 1, 2"#,
];

/// Queries over two tables `{a}` and `{b}` of a project.
const ABOVE: [&str; 10] = [
    r#"select "user", day, n + 1 as n from {a} where n > {k}"#,
    r#"select a."user", a.day, a.n + b.n as n from {a} a join {b} b on b."user" = a."user" and b.day = a.day"#,
    r#"select a."user", a.day, a.n + coalesce(b.n, {k}) as n from {a} a left join {b} b on b."user" = a."user" and b.day = a.day"#,
    r#"select a."user", a.day, a.n from {a} a where not exists (select 1 from {b} b where b."user" = a."user" and b.day = a.day and b.n > {k})"#,
    r#"select distinct "user", day, cast(1 as bigint) as n from {a} where n > {k}"#,
    r#"select "user", day, sum(n) as n from (select "user", day, n from {a} union all select "user", day, n from {b} where n > {k}) both group by 1, 2 having sum(n) > 1"#,
    // Rolling seven days.
    r#"select a."user", a.day, sum(b.n) as n from {a} a join {b} b on b."user" = a."user" and b.day > a.day - interval '7 days' and b.day <= a.day group by 1, 2"#,
    // A cohort: the day of a user's first row moves with late ones.
    r#"select "user", min(day) as day, sum(n) as n from {a} group by 1"#,
    r#"select "user", day, sum(n) over (partition by "user" order by day) as n from {a}"#,
    r#"select e."user", e.day, e.n + coalesce(b.n, 0) as n from (select "user", at::date as day, sum(n) as n from raw.events where n >= {k} group by 1, 2) e left join {own} b on b."user" = e."user" and b.day = e.day - interval '1 day'"#,
];

/// A project of `levels` levels, two tables each.
pub(super) fn project(random: &mut StdRng, levels: usize) -> Vec<Defined> {
    let mut tables: Vec<(Defined, Shape)> = Vec::new();
    for level in 0..levels {
        for place in 0..2 {
            let name = format!("t{level}{}", ["a", "b"][place]);
            let below: Vec<_> = tables.iter().filter(|(_, s)| *s != Shape::Users).map(|(d, _)| format!("test.{}", d.name)).collect();
            let of = |random: &mut StdRng| below[random.random_range(0..below.len())].clone();
            let (sql, is_own) = match level {
                0 => (BASE[random.random_range(0..BASE.len())].to_owned(), false),
                _ => {
                    let sql = ABOVE[random.random_range(0..ABOVE.len())];
                    let both = sql.replace("{a}", &of(random)).replace("{b}", &of(random));
                    (both.replace("{own}", &format!("test.{name}")), sql.contains("{own}"))
                }
            };
            let shape = match random.random_range(0..8) {
                _ if is_own => Shape::Days,
                0 | 1 => Shape::Keys,
                2 if level > 0 && level + 1 == levels => Shape::Users,
                _ => Shape::Days,
            };
            let yaml = yaml(&name, shape, is_own, random.random_bool(0.3), &sql);
            tables.push((Defined { name, yaml, k: random.random_range(0..4) }, shape));
        }
    }
    tables.into_iter().map(|(d, _)| d).collect()
}

fn yaml(name: &str, shape: Shape, is_own: bool, append: bool, sql: &str) -> String {
    let settings = match shape {
        Shape::Keys => "key: {partition: [user], cluster: [day], unique: [user, day]}".to_owned(),
        Shape::Users => "start: 2025-12-25\nstrategy: {merge: {key: [user], order_by: day, columns: {n: sum, day: max}}}\nwindow: {every: day}\ntime_column: day".to_owned(),
        Shape::Days => {
            let strategy = if append { "strategy: append\n" } else { "" };
            let typed = if is_own { "columns: {user: {type: string}, day: {type: date}, n: {type: int64}}\n" } else { "" };
            format!("start: 2025-12-25\n{strategy}{typed}window: {{every: day}}\ntime_column: day\nkey: {{partition: [user], cluster: [day], unique: [user, day]}}")
        }
    };
    let sql = sql.replace('\n', "\n  ");
    format!("name: test.{name}\n{settings}\nsql: |\n  {sql}\n")
}
