//! A C interface to minijinja for chat templates. A template comes from a model file and is not
//! trusted: it gets no loader and no file access, a bounded number of instructions (fuel), bounded
//! depth and bounded output; a panic is an error, never an abort. What is left (memory and time
//! inside one instruction) is for the caller to bound.
//!
//! The names that templates find are those that the transformers library gives them.

use minijinja::value::Kwargs;
use minijinja::{context, Environment, Error, ErrorKind, UndefinedBehavior, Value};
use serde::Serialize;
use serde_json::ser::{Formatter, PrettyFormatter, Serializer};
use std::io;
use std::os::raw::c_char;
use std::panic::{catch_unwind, AssertUnwindSafe};

/// Instructions that one rendering may take, and bytes that it may give.
const FUEL: u64 = 300_000;
const MAX_OUTPUT: usize = 1 << 20;
const MAX_DEPTH: usize = 200;

/// Collects output up to a limit.
struct Bounded(Vec<u8>);

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > MAX_OUTPUT {
            return Err(io::Error::other("the output is too long"));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn raise_exception(message: String) -> Result<Value, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, message))
}

/// The separators of Python's `json.dumps`: ", " and ": ".
struct PythonFormatter;

impl Formatter for PythonFormatter {
    fn begin_array_value<W: ?Sized + io::Write>(
        &mut self,
        w: &mut W,
        first: bool,
    ) -> io::Result<()> {
        w.write_all(if first { b"" } else { b", " })
    }
    fn begin_object_key<W: ?Sized + io::Write>(
        &mut self,
        w: &mut W,
        first: bool,
    ) -> io::Result<()> {
        w.write_all(if first { b"" } else { b", " })
    }
    fn begin_object_value<W: ?Sized + io::Write>(&mut self, w: &mut W) -> io::Result<()> {
        w.write_all(b": ")
    }
}

/// `tojson` as chat templates expect it: `json.dumps(value, ensure_ascii=False, indent=indent)`,
/// nothing escaped for HTML.
fn tojson(value: &Value, options: Kwargs) -> Result<String, Error> {
    let indent: Option<usize> = options.get("indent")?;
    let mut out = Bounded(Vec::new());
    let written = match indent {
        Some(width) => {
            let spaces = " ".repeat(width.min(16));
            let formatter = PrettyFormatter::with_indent(spaces.as_bytes());
            value.serialize(&mut Serializer::with_formatter(&mut out, formatter))
        }
        None => value.serialize(&mut Serializer::with_formatter(&mut out, PythonFormatter)),
    };
    written.map_err(|e| Error::new(ErrorKind::BadSerialization, e.to_string()))?;
    Ok(String::from_utf8_lossy(&out.0).into_owned())
}

/// A date as Python's `strftime` writes it. The time of day is 00:00:00.
fn strftime(date: &str, format: &str) -> Result<String, Error> {
    const MONTHS: [&str; 12] = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];
    const DAYS: [&str; 7] = [
        "Sunday",
        "Monday",
        "Tuesday",
        "Wednesday",
        "Thursday",
        "Friday",
        "Saturday",
    ];
    let wrong = |what: String| Error::new(ErrorKind::InvalidOperation, what);
    let parts: Vec<usize> = date
        .split('-')
        .filter_map(|part| part.parse().ok())
        .collect();
    let [year, month, day] = parts[..] else {
        return Err(wrong(format!("'{date}' is not a date")));
    };
    if !(1..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return Err(wrong(format!("'{date}' is not a date")));
    }
    // Sakamoto's method: January and February count as months of the year before.
    let y = year - usize::from(month < 3);
    let week_day =
        (y + y / 4 - y / 100 + y / 400 + [0, 3, 2, 5, 0, 3, 5, 1, 4, 6, 2, 4][month - 1] + day) % 7;
    let mut out = String::new();
    let mut rest = format.chars();
    while let Some(c) = rest.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        match rest.next() {
            Some('Y') => out += &format!("{year:04}"),
            Some('y') => out += &format!("{:02}", year % 100),
            Some('m') => out += &format!("{month:02}"),
            Some('B') => out += MONTHS[month - 1],
            Some('b') => out += &MONTHS[month - 1][..3],
            Some('d') => out += &format!("{day:02}"),
            Some('A') => out += DAYS[week_day],
            Some('a') => out += &DAYS[week_day][..3],
            Some('H' | 'M' | 'S') => out += "00",
            Some('%') => out.push('%'),
            other => {
                let shown = other.map(String::from).unwrap_or_default();
                return Err(wrong(format!("strftime_now: '%{shown}' is not supported")));
            }
        }
    }
    Ok(out)
}

/// Jinja reads texts as Python does, where a backslash at the end of a line joins it with the next
/// one; minijinja keeps both characters. Only quoted texts inside of `{{ }}` and `{% %}` change.
fn join_lines(template: &str) -> String {
    let mut out = String::with_capacity(template.len());
    let mut rest = template.chars().peekable();
    let mut inside = false;
    let mut quote = None;
    while let Some(c) = rest.next() {
        let next = rest.peek().copied();
        match (quote, c) {
            (Some(_), '\\') if next == Some('\n') => {
                rest.next();
                continue;
            }
            (Some(_), '\\') => {
                out.push(c);
                out.extend(rest.next());
                continue;
            }
            (Some(q), _) if c == q => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') if inside => quote = Some(c),
            (None, '{') if matches!(next, Some('{' | '%')) => inside = true,
            (None, '}' | '%') if next == Some('}') => inside = false,
            _ => {}
        }
        out.push(c);
    }
    out
}

/// As Python has it, `none` is not iterable.
fn is_iterable(value: &Value) -> bool {
    !value.is_none() && value.try_iter().is_ok()
}

fn render(request: &[u8]) -> Result<Vec<u8>, String> {
    let request: serde_json::Value = serde_json::from_slice(request).map_err(|e| e.to_string())?;
    let field = |name: &str| request[name].as_str().unwrap_or_default().to_string();
    let (template, date) = (join_lines(&field("template")), field("date"));
    let mut environment = Environment::new();
    environment.set_fuel(Some(FUEL));
    environment.set_recursion_limit(MAX_DEPTH);
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    environment.set_undefined_behavior(UndefinedBehavior::Lenient);
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.add_filter("tojson", tojson);
    environment.add_test("iterable", is_iterable);
    environment.add_function("raise_exception", raise_exception);
    environment.add_function("strftime_now", move |format: String| {
        strftime(&date, &format)
    });
    environment
        .add_template("chat", &template)
        .map_err(|e| e.to_string())?;
    let mut output = Bounded(Vec::new());
    environment
        .get_template("chat")
        .and_then(|chat| {
            chat.render_captured_to(
                context! {
                    messages => Value::from_serialize(&request["messages"]),
                    add_generation_prompt => request["add_generation_prompt"].as_bool(),
                    bos_token => field("bos"),
                    eos_token => field("eos"),
                    tools => (),
                    documents => (),
                },
                &mut output,
            )
            .map(|_| ())
        })
        .map_err(|e| e.to_string())?;
    Ok(output.0)
}

/// Renders a chat template. `request` is a JSON object: template, messages ([{role, content}]),
/// bos, eos, date ("2026-01-31": what strftime_now tells) and add_generation_prompt. Returns the
/// text, or the error where `*failed` is not 0; `*bytes` is its length. The result belongs to the
/// caller, who gives it to `ingot_jinja_free`.
///
/// # Safety
/// `request` points at `request_bytes` bytes; `failed` and `bytes` can be written to.
#[no_mangle]
pub unsafe extern "C" fn ingot_jinja_render(
    request: *const c_char,
    request_bytes: usize,
    failed: *mut i32,
    bytes: *mut usize,
) -> *mut c_char {
    let request = std::slice::from_raw_parts(request.cast::<u8>(), request_bytes);
    let rendered = catch_unwind(AssertUnwindSafe(|| render(request)))
        .unwrap_or_else(|_| Err("the template engine failed".into()));
    *failed = i32::from(rendered.is_err());
    let result = rendered
        .unwrap_or_else(String::into_bytes)
        .into_boxed_slice();
    *bytes = result.len();
    Box::into_raw(result).cast()
}

/// Frees a result of `ingot_jinja_render`.
///
/// # Safety
/// `data` and `bytes` are what `ingot_jinja_render` returned.
#[no_mangle]
pub unsafe extern "C" fn ingot_jinja_free(data: *mut c_char, bytes: usize) {
    drop(Box::from_raw(std::ptr::slice_from_raw_parts_mut(
        data.cast::<u8>(),
        bytes,
    )));
}
