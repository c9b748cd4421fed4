//! Tables in CSV and Parquet: columns, transforms, missing values.

use std::path::Path;
use std::sync::Arc;

use bfn_core::VariableKind;
use bfn_data::table::{Cell, ColumnKind, ColumnRule, Columns, RawTable, RealMap, table};
use bfn_data::{DataError, Dataset, Draw, Layout, Rows, Seed, Shares, Split, Storage, Values};
use parquet::basic::{Compression, ZstdLevel};
use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use proptest::prelude::*;

const DRAW: Draw = Draw { seed: Seed(0), epoch: 0 };
const HALF: Shares = Shares { validation: 0.25, test: 0.25 };
const ALL: Shares = Shares { validation: 0.0, test: 0.0 };

fn rule(name: &str, kind: ColumnKind) -> ColumnRule {
    ColumnRule { names: vec![name.to_owned()], kind }
}

fn integer(name: &str) -> ColumnRule {
    rule(name, ColumnKind::Integer { lowest: None, highest: None })
}

fn categorical(name: &str) -> ColumnRule {
    rule(name, ColumnKind::Categorical { classes: None })
}

fn continuous(name: &str, map: RealMap) -> ColumnRule {
    rule(name, ColumnKind::Continuous(map))
}

const STANDARDISED: RealMap = RealMap::Standardised { clip: 4.0 };

fn csv(text: &str) -> Result<RawTable, DataError> {
    RawTable::parse(Path::new("some.csv"), text.as_bytes(), &["NA".to_owned()])
}

fn columns(rows: &Rows) -> Columns {
    match rows.layout() {
        Layout::Table { columns } => columns.clone(),
        other => panic!("expected a table, found {other:?}"),
    }
}

fn values(rows: &Rows, index: usize) -> Vec<f64> {
    let mut example = Values::zeros(rows.storage(), 1, rows.layout().variables());
    rows.read(index, DRAW, example.row_mut(0)).unwrap();
    (0..rows.layout().variables()).map(|variable| example.at(0, variable)).collect()
}

const PEOPLE: &str = "name,age,height,colour\n\
    ann,30,1.70,red\n\
    bob,25,1.80,\"blue, dark\"\n\
    eve,NA,1.60,red\n\
    joe,27,,\n";

#[test]
fn columns_of_all_kinds_become_variables_ordered_by_kind() {
    let rules = [categorical("colour"), integer("age"), continuous("height", STANDARDISED)];
    let rows = table(&csv(PEOPLE).unwrap(), &rules, ALL, Split::Train).unwrap();
    assert_eq!((rows.len(), rows.storage()), (4, Storage::Reals));
    let kinds: Vec<VariableKind> = (0..5).map(|variable| rows.kind(variable)).collect();
    let classes = |classes| VariableKind::Discrete { classes };
    // The height, the age from 25 to 30, whether each is missing, and the colour with a class for missing values.
    let bins = VariableKind::Discretised { bins: 6 };
    assert_eq!(kinds, [VariableKind::Continuous, bins, classes(2), classes(2), classes(3)]);
    let columns = columns(&rows);
    let mut found: Vec<Vec<String>> =
        (0..4).map(|index| columns.decode(&values(&rows, index)).iter().map(Cell::to_string).collect()).collect();
    for row in &mut found {
        if let Ok(height) = row[1].parse::<f64>() {
            row[1] = format!("{height:.2}");
        }
    }
    found.sort();
    assert_eq!(found, [["", "1.60", "red"], ["25", "1.80", "blue, dark"], ["27", "", ""], ["30", "1.70", "red"]]);
    let text = String::from_utf8(columns.to_csv([&values(&rows, 0)[..]]).unwrap()).unwrap();
    assert_eq!(text.lines().next(), Some("age,height,colour"));
}

#[test]
fn what_to_do_about_a_table_is_told() {
    for (text, advice) in [
        (&b"a;b\n1;2\n"[..], "put commas in the place of ';'"),
        (b"a\tb\n1\t2\n", "put commas in the place of '\\t'"),
        (b"a,b\n1,2,3\n", "needs quotation marks"),
        (b"a,b\n1,\xfc\n", "convert the file to UTF-8"),
        (b"a,a\n1,2\n", "another name"),
    ] {
        let error = RawTable::parse(Path::new("x.csv"), text, &[]).unwrap_err().to_string();
        assert!(error.contains(advice), "{error}");
    }
}

/// Numbers too large to compute with are refused: one of them would make all the others indistinguishable.
#[test]
fn numbers_that_cannot_be_computed_with_are_refused() {
    for (text, map) in [("x\n1\n2\n1e200\n", STANDARDISED), ("x\n-1.7e308\n1.7e308\n", RealMap::Quantiles)] {
        let error = table(&csv(text).unwrap(), &[continuous("x", map)], ALL, Split::Train).unwrap_err().to_string();
        assert!(error.contains("\"x\"") || error.contains("x:"), "{error}");
        assert!(error.contains("mean, deviation and range"), "{error}");
    }
}

#[test]
fn what_is_learnt_of_reals_comes_from_the_training_rows() {
    let text: String = std::iter::once("x\n".to_owned()).chain((0..100).map(|i| format!("{}\n", i * i))).collect();
    let raw = csv(&text).unwrap();
    let of = |map, split| table(&raw, &[continuous("x", map)], HALF, split).unwrap();
    let train = of(STANDARDISED, Split::Train);
    let scaled: Vec<f64> = (0..train.len()).map(|index| 4.0 * values(&train, index)[0]).collect();
    let mean = scaled.iter().sum::<f64>() / scaled.len() as f64;
    let variance = scaled.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / scaled.len() as f64;
    assert!(mean.abs() < 1e-6 && (variance - 1.0).abs() < 1e-5, "{mean}, {variance}");
    assert_eq!(columns(&train), columns(&of(STANDARDISED, Split::Test)));

    let train = of(RealMap::Quantiles, Split::Train);
    let mut ranks: Vec<f64> = (0..train.len()).map(|index| values(&train, index)[0]).collect();
    ranks.sort_by(f64::total_cmp);
    for (place, rank) in ranks.iter().enumerate() {
        assert!((rank - (2.0 * place as f64 / 49.0 - 1.0)).abs() < 1e-6);
    }
    // Every row of every split is recovered.
    for split in [Split::Train, Split::Test] {
        let rows = of(RealMap::Quantiles, split);
        for index in 0..rows.len() {
            let value = values(&rows, index)[0];
            let Cell::Real(real) = columns(&rows).decode(&[value])[0] else { panic!("a real number") };
            let root = real.sqrt();
            let at_an_end = value.abs() == 1.0;
            assert!(at_an_end || (root - root.round()).abs() < 2e-3, "{real}");
        }
    }
}

proptest! {
    /// Decoding recovers every value inside the range of a column.
    #[test]
    fn decoding_undoes_encoding(
        reals in prop::collection::vec(-1e3_f64..1e3, 4..40), seed in 0_i64..1000,
    ) {
        let mut text = "a,b,c,d\n".to_owned();
        for (place, real) in reals.iter().enumerate() {
            let integer = (place as i64 * seed) % 17 - 5;
            text += &format!("{real},{real},{integer},k{}\n", place % 4);
        }
        let raw = csv(&text).unwrap();
        let wide = RealMap::Standardised { clip: 100.0 };
        let rules = [continuous("a", wide), continuous("b", RealMap::Quantiles), integer("c"), categorical("d")];
        let all: Vec<usize> = (0..reals.len()).collect();
        let columns = Columns::fit(&raw, &rules, &all).unwrap();
        for row in 0..reals.len() {
            let cells = columns.decode(&columns.encode(&raw, row).unwrap());
            for (column, cell) in cells.iter().enumerate() {
                let expected = &raw.column(column)[row];
                match cell {
                    Cell::Real(found) => {
                        let real: f64 = expected.to_string().parse().unwrap();
                        prop_assert!((found - real).abs() < 1e-6 * real.abs().max(1.0), "{} {}", found, real);
                    }
                    other => prop_assert_eq!(other.to_string(), expected.to_string()),
                }
            }
        }
        let json = serde_json::to_string(&columns).unwrap();
        prop_assert_eq!(serde_json::from_str::<Columns>(&json).unwrap(), columns);
    }

    #[test]
    fn any_bytes_are_a_table_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        let _ = RawTable::parse(Path::new("x"), &bytes, &[]);
        let _ = RawTable::parse(Path::new("x"), &[b"PAR1", &bytes[..]].concat(), &[]);
    }
}

#[test]
fn ties_lie_in_the_middle_of_their_ranks() {
    let raw = csv("x\n0\n0\n0\n5\n9\n").unwrap();
    let columns = Columns::fit(&raw, &[continuous("x", RealMap::Quantiles)], &[0, 1, 2, 3, 4]).unwrap();
    let encoded: Vec<f64> = (0..5).map(|row| columns.encode(&raw, row).unwrap()[0]).collect();
    assert_eq!(encoded, [-0.5, -0.5, -0.5, 0.5, 1.0]);
    let decoded: Vec<Cell> = encoded.iter().map(|value| columns.decode(&[*value])[0].clone()).collect();
    assert_eq!(decoded[0], Cell::Real(0.0));
    assert_eq!(decoded[3..], [Cell::Real(5.0), Cell::Real(9.0)]);
}

#[test]
fn wrong_cells_and_rules_are_named() {
    let message = |text: &str, rule: ColumnRule| {
        let raw = csv(text).unwrap();
        table(&raw, &[rule], ALL, Split::Train).unwrap_err().to_string()
    };
    let wrong = message("a,b\n1,2\n3,x\n", integer("b"));
    assert!(wrong.starts_with("some.csv: row 2 of column \"b\": expected an integer, found \"x\""), "{wrong}");
    assert!(message("b\n1.5\n2\n", integer("b")).contains("found \"1.5\""));
    assert!(message("b\ninf\n2\n", continuous("b", STANDARDISED)).contains("a finite number"));
    let range = ColumnKind::Integer { lowest: Some(0), highest: Some(3) };
    assert!(message("b\n1\n4\n", rule("b", range)).contains("an integer from 0 to 3"));
    let classes = ColumnKind::Categorical { classes: Some(vec!["x".into(), "y".into()]) };
    assert!(message("b\nx\nz\n", rule("b", classes)).contains("found \"z\""));
    assert!(message("b\nx\nx\n", categorical("b")).contains("at least two classes in column \"b\""));
    assert!(message("b\n0\n9999999\n", integer("b")).contains("at most 65536"));
    assert!(message("b\n0\n1\n", integer("c")).contains("the name of a column"));
    assert!(message("b\n0\n1\n", continuous("b", RealMap::Standardised { clip: 0.0 })).contains("a positive clip"));
    let error = |text: &str| csv(text).unwrap_err().to_string();
    assert!(
        error("a,b\n1,2\n3\n").contains("expected 2 cells, as in the first line, found 1 in line 3"),
        "{}",
        error("a,b\n1,2\n3\n")
    );
    assert!(error("").contains("at least one column"));
    assert!(error("a,b\n").contains("one row"));
    assert!(error("a,a\n1,2\n").contains("columns of different names"));
}

/// Columns learnt from one table refuse cells of another table that are not finite numbers.
#[test]
fn cells_of_other_tables_are_finite_numbers_too() {
    for map in [STANDARDISED, RealMap::Quantiles] {
        let rows = table(&csv("a\n1\n2\n4\n").unwrap(), &[continuous("a", map)], ALL, Split::Train).unwrap();
        for text in ["NaN", "inf", "-inf", "x"] {
            let raw = csv(&format!("a\n3\n{text}\n")).unwrap();
            columns(&rows).encode(&raw, 0).unwrap();
            let errors = [columns(&rows).encode(&raw, 1).err(), columns(&rows).encode_known(&raw, 1).err()];
            for error in errors {
                let error = error.unwrap().to_string();
                assert!(error.starts_with("some.csv: row 2 of column \"a\": expected a finite number"), "{error}");
            }
        }
    }
}

/// Sixty thousand classes, and as many columns, are looked up: a search would take some 10¹⁰ comparisons of text.
#[test]
fn many_classes_and_many_columns_take_no_quadratic_time() {
    let text: String = (0..60_000).map(|row| format!("{row:x}\n")).collect();
    let rows = table(&csv(&format!("a\n{text}")).unwrap(), &[categorical("a")], ALL, Split::Train).unwrap();
    assert_eq!(rows.kind(0), VariableKind::Discrete { classes: 60_000 });
    let listed = (0..60_000).rev().map(|class| format!("{class:x}")).collect();
    let listed = rule("a", ColumnKind::Categorical { classes: Some(listed) });
    let raw = csv(&format!("a\n{text}")).unwrap();
    let rows = table(&raw, &[listed], ALL, Split::Train).unwrap();
    assert_eq!(columns(&rows).encode(&raw, 7).unwrap(), [59_992.0]);
    let names: Vec<String> = (0..60_000).map(|column| format!("column {column}")).collect();
    let raw = csv(&format!("{}\n{}\n", names.join(","), vec!["1"; 60_000].join(","))).unwrap();
    assert_eq!(raw.names().len(), 60_000);

    let text: String = (0..70_000).map(|row| format!("{row:x}\n")).collect();
    let error = table(&csv(&format!("a\n{text}")).unwrap(), &[categorical("a")], ALL, Split::Train).unwrap_err();
    assert!(error.to_string().contains("at most 65536 classes in column \"a\""), "{error}");
}

#[test]
fn patterns_name_many_columns_and_the_first_rule_counts() {
    let raw = csv("p_1,p_2,q\n0,1,0\n1,0,1\n").unwrap();
    let rules = [categorical("p_2"), integer("p_*"), integer("q")];
    let rows = table(&raw, &rules, ALL, Split::Train).unwrap();
    let names: Vec<String> = columns(&rows).columns().iter().map(|column| column.name.clone()).collect();
    assert_eq!(names, ["p_1", "p_2", "q"]);
    let bins = VariableKind::Discretised { bins: 2 };
    assert_eq!([0, 1, 2].map(|place| rows.kind(place)), [bins, bins, VariableKind::Discrete { classes: 2 }]);
    assert_eq!(rows.storage(), Storage::Bytes);
}

fn parquet(compression: Compression) -> Vec<u8> {
    let schema = "message m { optional double height; required int64 age; optional binary colour (UTF8); }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let properties = Arc::new(WriterProperties::builder().set_compression(compression).build());
    let mut bytes = Vec::new();
    let mut writer = SerializedFileWriter::new(&mut bytes, schema, properties).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<DoubleType>().write_batch(&[1.7, 1.8, 1.6], Some(&[1, 1, 1, 0]), None).unwrap();
    column.close().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<Int64Type>().write_batch(&[30, 25, 28, 27], None, None).unwrap();
    column.close().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    let colours = ["red", "blue", "red"].map(ByteArray::from);
    column.typed::<ByteArrayType>().write_batch(&colours, Some(&[1, 1, 1, 0]), None).unwrap();
    column.close().unwrap();
    group.close().unwrap();
    writer.close().unwrap();
    bytes
}

#[test]
fn parquet_is_read_in_every_usual_compression() {
    let zstd = Compression::ZSTD(ZstdLevel::try_new(3).unwrap());
    for compression in [Compression::UNCOMPRESSED, Compression::SNAPPY, Compression::LZ4_RAW, zstd] {
        let bytes = parquet(compression);
        let raw = RawTable::parse(Path::new("x.parquet"), &bytes, &[]).unwrap();
        assert_eq!((raw.names().join(" "), raw.rows()), ("height age colour".to_owned(), 4));
        assert_eq!(raw.column(0), [Cell::Real(1.7), Cell::Real(1.8), Cell::Real(1.6), Cell::Missing]);
        assert_eq!(raw.column(1)[3], Cell::Integer(27));
        assert_eq!(raw.column(2)[1..], [Cell::Text("blue".into()), Cell::Text("red".into()), Cell::Missing]);
    }
    let bytes = parquet(Compression::SNAPPY);
    for end in 4..bytes.len() {
        let error = RawTable::parse(Path::new("x.parquet"), &bytes[..end], &[]).unwrap_err();
        assert!(error.to_string().starts_with("x.parquet: at byte 0: expected a sound table in Parquet"), "{error}");
    }
}
