//! Owns running other people's programs in Node: packages installed as their lock file says, and a program's lines.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStderr, ChildStdin, ChildStdout, Command},
};

use crate::within;

/// The folder `name` of this crate, with its packages installed below `scratch` (cargo's folder for tests), or why it cannot be.
///
/// # Errors
/// A sentence: no Node, too old a one, or packages that cannot be had.
pub async fn installed(name: &str, scratch: &Path) -> Result<PathBuf, String> {
    let version = output("node", &["--version"], Path::new(".")).await?;
    let major = version.trim_start_matches('v').split('.').next().and_then(|major| major.parse::<u32>().ok());
    if major.is_none_or(|major| major < 18) {
        return Err(format!("Node 18 or later is needed, this is {}", version.trim()));
    }
    let text = |error: std::io::Error| error.to_string();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    let folder = scratch.join(name);
    fs::create_dir_all(&folder).map_err(text)?;
    // Tests run side by side, in processes of their own too: one installs, the others wait.
    let lock = fs::File::create(folder.join(".lock")).map_err(text)?;
    lock.lock().map_err(text)?;
    for file in fs::read_dir(&source).map_err(text)?.filter_map(Result::ok) {
        // Not what somebody has installed beside the sources.
        if file.path().is_file() {
            fs::copy(file.path(), folder.join(file.file_name())).map_err(text)?;
        }
    }
    // Written after the installation: a copy of what was installed.
    let stamp = folder.join("node_modules/.installed");
    let wanted = fs::read(folder.join("package-lock.json")).map_err(text)?;
    if fs::read(&stamp).ok().as_ref() != Some(&wanted) {
        output("npm", &["ci", "--ignore-scripts", "--no-audit", "--no-fund"], &folder).await?;
        fs::write(&stamp, wanted).map_err(text)?;
    }
    Ok(folder)
}

async fn output(program: &str, arguments: &[&str], folder: &Path) -> Result<String, String> {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(format!("{program} {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr)))
    }
}

/// A program in Node that writes JSON lines. Killed when dropped.
#[derive(Debug)]
pub struct Program {
    name: String,
    child: Child,
    input: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    complaints: ChildStderr,
    /// What it wrote, for who asks why it failed.
    said: Vec<String>,
}

impl Program {
    /// Starts `script` of `folder`.
    ///
    /// # Panics
    /// If Node does not run, though [`installed`] found it.
    pub fn start(folder: &Path, script: &str, arguments: &[&str]) -> Self {
        let mut child = Command::new("node")
            .arg(script)
            .args(arguments)
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("node runs: it told its version");
        Self {
            name: script.to_owned(),
            input: child.stdin.take().expect("piped"),
            lines: BufReader::new(child.stdout.take().expect("piped")).lines(),
            complaints: child.stderr.take().expect("piped"),
            child,
            said: Vec::new(),
        }
    }

    /// Its next line; `None` once it writes no more.
    ///
    /// # Panics
    /// If the line is no JSON, or none comes for long.
    pub async fn next(&mut self) -> Option<Value> {
        let what = format!("the next line of {}", self.name);
        let line = within(&what, self.lines.next_line()).await.expect("a pipe is readable")?;
        let told = serde_json::from_str(&line).unwrap_or_else(|_| panic!("not a line of ours: {line}"));
        self.said.push(line);
        Some(told)
    }

    /// Writes a line to it.
    ///
    /// # Panics
    /// If it does not read.
    pub async fn tell(&mut self, line: &Value) {
        self.input.write_all(format!("{line}\n").as_bytes()).await.expect("it reads");
    }

    /// Kills it at once, as a machine that fails would, and waits until it is gone.
    ///
    /// # Panics
    /// If it cannot be killed.
    pub async fn kill(&mut self) {
        self.child.kill().await.expect("a child can be killed");
    }

    /// Waits until it has ended, by itself.
    ///
    /// # Panics
    /// If it does not end for long.
    pub async fn ended(&mut self) -> ExitStatus {
        let what = format!("the end of {}", self.name);
        within(&what, self.child.wait()).await.expect("a child can be waited for")
    }

    /// Waits until it has ended, well.
    ///
    /// # Panics
    /// With all that it wrote, if it has not.
    pub async fn ended_well(mut self) {
        let mut complaint = String::new();
        let what = format!("the end of the complaints of {}", self.name);
        within(&what, self.complaints.read_to_string(&mut complaint)).await.expect("a pipe is readable");
        let status = self.ended().await;
        assert!(status.success(), "{}: {status}\n{complaint}\n{}", self.name, self.said.join("\n"));
    }
}
