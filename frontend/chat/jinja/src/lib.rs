//! A C interface to minijinja for chat templates. A template comes from a model file and is not
//! trusted: it gets no loader and no file access, a bounded number of instructions (fuel) and a
//! bounded output; a panic is an error, never an abort.

use minijinja::{context, Environment, Error, ErrorKind, UndefinedBehavior, Value};
use std::fmt;
use std::os::raw::c_char;
use std::panic::{catch_unwind, AssertUnwindSafe};

/// Instructions that one rendering may take, and bytes that it may give.
const FUEL: u64 = 2_000_000;
const MAX_OUTPUT: usize = 1 << 20;
const MAX_DEPTH: usize = 200;

/// Collects output up to a limit.
struct Bounded(String);

impl std::io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.0.len() + bytes.len() > MAX_OUTPUT {
            return Err(std::io::Error::other("the output is too long"));
        }
        self.0.push_str(&String::from_utf8_lossy(bytes));
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn raise_exception(message: String) -> Result<Value, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, message))
}

/// Rendering happens at compile time, so the date is a fixed one.
fn strftime_now(_format: String) -> String {
    "01 January 2026".into()
}

fn render(template: &str, messages: &str, bos: &str, eos: &str) -> Result<String, String> {
    let describe = |error: &dyn fmt::Display| error.to_string();
    let mut environment = Environment::new();
    environment.set_fuel(Some(FUEL));
    environment.set_recursion_limit(MAX_DEPTH);
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    environment.set_undefined_behavior(UndefinedBehavior::Lenient);
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.add_function("raise_exception", raise_exception);
    environment.add_function("strftime_now", strftime_now);
    environment
        .add_template("chat", template)
        .map_err(|e| describe(&e))?;
    let messages: serde_json::Value = serde_json::from_str(messages).map_err(|e| describe(&e))?;
    let mut output = Bounded(String::new());
    environment
        .get_template("chat")
        .and_then(|chat| {
            chat.render_captured_to(
                context! {
                    messages => Value::from_serialize(&messages),
                    add_generation_prompt => true,
                    bos_token => bos,
                    eos_token => eos,
                },
                &mut output,
            )
            .map(|_| ())
        })
        .map_err(|e| describe(&e))?;
    Ok(output.0)
}

unsafe fn text<'a>(data: *const c_char, bytes: usize) -> std::borrow::Cow<'a, str> {
    String::from_utf8_lossy(std::slice::from_raw_parts(data.cast(), bytes))
}

/// Renders `template` over `messages` (a JSON array of {role, content}) with a generation prompt.
/// Returns the text, or the error where `*failed` is not 0; `*bytes` is its length. The result belongs
/// to the caller, who gives it to `ingot_jinja_free`.
///
/// # Safety
/// Each pointer points at as many bytes as the length behind it says.
#[no_mangle]
pub unsafe extern "C" fn ingot_jinja_render(
    template: *const c_char,
    template_bytes: usize,
    messages: *const c_char,
    messages_bytes: usize,
    bos: *const c_char,
    bos_bytes: usize,
    eos: *const c_char,
    eos_bytes: usize,
    failed: *mut i32,
    bytes: *mut usize,
) -> *mut c_char {
    let template = text(template, template_bytes);
    let messages = text(messages, messages_bytes);
    let (bos, eos) = (text(bos, bos_bytes), text(eos, eos_bytes));
    let rendered = catch_unwind(AssertUnwindSafe(|| {
        render(&template, &messages, &bos, &eos)
    }))
    .unwrap_or_else(|_| Err("the template engine failed".into()));
    *failed = i32::from(rendered.is_err());
    let result = match rendered {
        Ok(text) | Err(text) => text.into_boxed_str(),
    };
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
