package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/urfave/cli/v2"

	"virga/image"
	"virga/parser"
)

// fixture is a command run in process.
type fixture struct {
	env         *environment
	out, stderr bytes.Buffer
}

func newFixture(t *testing.T, vars map[string]string) *fixture {
	t.Helper()
	f := &fixture{}
	lookup := func(k string) (string, bool) { v, ok := vars[k]; return v, ok }
	f.env = &environment{
		stdin: strings.NewReader(""), stdout: &f.out, stderr: &f.stderr, dir: t.TempDir(), uid: os.Geteuid(),
		getenv: func(k string) string { v, _ := lookup(k); return v }, lookupEnv: lookup,
	}
	return f
}

func (f *fixture) run(t *testing.T, args ...string) int {
	t.Helper()
	f.out.Reset()
	f.stderr.Reset()
	return run(t.Context(), f.env, append([]string{"virga"}, args...))
}

func TestUsageErrors(t *testing.T) {
	for _, tc := range []struct{ args, msg string }{
		{"", "virga: error: no command given\nhint: 'virga --help' lists the commands\n"},
		{"bulid .", "virga: error: unknown command \"bulid\"\nhint: did you mean \"build\"?\n"},
		{"build . --tga x", "virga: error: unknown option --tga for build\nhint: did you mean --tag?\n"},
		{"build", "virga: error: build: CONTEXT is missing\nhint: usage: virga build CONTEXT|-\n"},
		{"build a b", "virga: error: build: too many arguments: \"b\"\nhint: usage: virga build CONTEXT|-\n"},
		{"build . --jobs x", "virga: error: build: --jobs \"x\" is not a whole number from 1 up\n"},
		{"build . --jobs 0", "virga: error: build: --jobs \"0\" is not a whole number from 1 up\n"},
		{"build . --force=maybe", "virga: error: option --force: \"maybe\" is not one of seccomp, consistent, plain, fakeroot, none\n"},
		{"--force=secomp build .", "virga: error: option --force: \"secomp\" is not one of seccomp, consistent, plain, fakeroot, none\nhint: did you mean seccomp?\n"},
		{"run --force=fakeroo x", "virga: error: option --force: \"fakeroo\" is not one of seccomp, consistent, plain, none\n"},
		{"push x --compression gzp", "virga: error: push: --compression \"gzp\" is not gzip, zstd or none\nhint: did you mean gzip?\n"},
		{"build . -o type=ociarchive", "virga: error: build: --output \"type=ociarchive\": type \"ociarchive\" is not one of tar, local, docker, oci, squashfs, image\nhint: did you mean oci?\n"},
		{"build . -o type=oci,dst=x", "virga: error: build: --output \"type=oci,dst=x\": the key \"dst\" is not one of type, dest, name, push\nhint: did you mean dest?\n"},
		{"build . --cache-to type=lokal,dest=x", "virga: error: --cache-to \"type=lokal,dest=x\": type \"lokal\" is not one of registry, local\nhint: did you mean local?\n"},
		{"list -f lable=x", "virga: error: list: --filter \"lable=x\": the key \"lable\" is not one of reference, label, label!, before, since, dangling\nhint: did you mean label?\n"},
		{"gestalt overlays", "virga: error: gestalt: the feature \"overlays\" is not one of bucache, dependencies, overlay, storage-path, userns\nhint: did you mean overlay?\n"},
		{"modify a b --force=non", "virga: error: option --force: \"non\" is not one of seccomp, consistent, plain, fakeroot, none\nhint: did you mean none?\n"},
		{"build . --isolation vm", "virga: error: option --isolation: \"vm\" is not one of userns, chroot\n"},
		{"build . -b /a:b", "virga: error: --bind \"/a:b\": the destination \"b\" is not absolute\n"},
		{"build . --label x", "virga: error: --label \"x\" is not K=V\n"},
		{"build - -f x", "virga: error: build: --file \"x\" has no context to be in: the Dockerfile is standard input\n"},
		{"build . -t UPPER", "virga: error: invalid image reference \"UPPER\": repository names are lower case, \"UPPER\" is not\n" +
			"hint: a reference is [HOST[:PORT]/][PATH/]NAME[:TAG][@sha256:HEX]\n"},
		{"run", "virga: error: run: IMAGE is missing\nhint: usage: virga run IMAGE [CMD [ARG...]]\n"},
		{"run -w -W x", "virga: error: run: --write and --write-fake exclude each other\n"},
		{"run -c etc x", "virga: error: run: --cd \"etc\" is not an absolute path\n"},
		{"run -u -1 x", "virga: error: run: --uid \"-1\" is not a whole number from 0 up\n"},
		{"list --cache --rebuild", "virga: error: --cache, --no-cache and --rebuild exclude each other\n"},
		{"list -v -q", "virga: error: --verbose and --quiet exclude each other\n"},
		{"list --progress loud", "virga: error: option --progress: \"loud\" is not one of auto, tty, plain, json, none\n"},
		{"list --progress=jsno", "virga: error: option --progress: \"jsno\" is not one of auto, tty, plain, json, none\nhint: did you mean json?\n"},
		{"list -a amd64 --platform linux/amd64", "virga: error: --arch and --platform exclude each other\n"},
		{"completion tcsh", "virga: error: completion: no shell \"tcsh\"\nhint: there are bash, zsh and fish\n"},
		{"help bulid", "virga: error: unknown command \"bulid\"\nhint: did you mean \"build\"?\n"},
	} {
		f := newFixture(t, nil)
		if code := f.run(t, strings.Fields(tc.args)...); code != exitUsage {
			t.Errorf("virga %s: status %d, want %d", tc.args, code, exitUsage)
		}
		if got := f.stderr.String(); got != tc.msg {
			t.Errorf("virga %s:\n got %s\nwant %s", tc.args, got, tc.msg)
		}
		if f.out.Len() > 0 {
			t.Errorf("virga %s: standard output %q, want none", tc.args, &f.out)
		}
	}
}

func TestStoragePath(t *testing.T) {
	for _, tc := range []struct {
		name, option string
		vars         map[string]string
		want         string // "." is the working directory
	}{
		{"default", "", map[string]string{"USER": "ada"}, "/var/tmp/ada.virga"},
		{"charliecloud", "", map[string]string{"USER": "ada", "CH_IMAGE_STORAGE": "/a/b/"}, "/a/b"},
		{"own first", "", map[string]string{"VIRGA_STORAGE": "/v", "CH_IMAGE_STORAGE": "/c"}, "/v"},
		{"option first", "/o", map[string]string{"VIRGA_STORAGE": "/v", "CH_IMAGE_STORAGE": "/c"}, "/o"},
		{"relative option", "x", nil, "./x"},
		{"empty variables", "", map[string]string{"USER": "ada", "VIRGA_STORAGE": "", "CH_IMAGE_STORAGE": ""}, "/var/tmp/ada.virga"},
	} {
		f := newFixture(t, tc.vars)
		args := []string{"storage-path"}
		if tc.option != "" {
			args = append(args, "-s", tc.option)
		}
		want := tc.want
		if rest, ok := strings.CutPrefix(want, "./"); ok {
			want = filepath.Join(f.env.dir, rest)
		}
		if code := f.run(t, args...); code != exitOK || f.out.String() != want+"\n" || f.stderr.Len() > 0 {
			t.Errorf("%s: status %d, %q, %q; want %q", tc.name, code, &f.out, &f.stderr, want)
		}
	}
	f := newFixture(t, map[string]string{"CH_IMAGE_STORAGE": "rel"})
	if code := f.run(t, "storage-path"); code != exitFailed || !strings.Contains(f.stderr.String(), `$CH_IMAGE_STORAGE "rel" is not an absolute path`) {
		t.Errorf("relative $CH_IMAGE_STORAGE: status %d, %q", code, &f.stderr)
	}
	f = newFixture(t, map[string]string{"USER": "../evil"})
	if code := f.run(t, "storage-path"); code != exitFailed || !strings.Contains(f.stderr.String(), "$USER is not a name") {
		t.Errorf("hostile $USER: status %d, %q", code, &f.stderr)
	}
}

func TestVersion(t *testing.T) {
	for _, args := range [][]string{{"--version"}, {"version"}, {"-vv", "--version"}} {
		f := newFixture(t, nil)
		if code := f.run(t, args...); code != 0 || !strings.HasPrefix(f.out.String(), "virga ") || strings.Count(f.out.String(), "\n") != 1 {
			t.Errorf("virga %v: status %d, %q", args, code, &f.out)
		}
	}
}

func TestHelpIsOnStandardOutput(t *testing.T) {
	app := newApp(newFixture(t, nil).env)
	for _, c := range app.Commands {
		for _, name := range c.Names() {
			f := newFixture(t, nil)
			if code := f.run(t, name, "--help"); code != 0 || f.stderr.Len() > 0 {
				t.Errorf("virga %s --help: status %d, %q", name, code, &f.stderr)
			}
			for _, fl := range c.Flags {
				if want := flagSynopsis(fl); !strings.Contains(f.out.String(), want) {
					t.Errorf("virga %s --help does not show %q", name, want)
				}
			}
			if !strings.Contains(f.out.String(), "Usage: virga "+c.Name) {
				t.Errorf("virga %s --help has no usage line:\n%s", name, &f.out)
			}
		}
	}
}

// Every option has a placeholder exactly if it takes a value, and no option of
// a command hides a global one but where the table says so.
func TestOptionsAreWellFormed(t *testing.T) {
	app := newApp(newFixture(t, nil).env)
	check := func(owner string, flags []cli.Flag) {
		for _, f := range flags {
			placeholder, text := flagUsage(f)
			a, _ := flagArity(f)
			if (a != noValue) != (placeholder != "") || text == "" {
				t.Errorf("%s: --%s: placeholder %q, text %q", owner, f.Names()[0], placeholder, text)
			}
		}
	}
	check("virga", app.Flags)
	global := newOptionTable(app.Flags)
	hides := map[string]bool{"prune -a": true} // docker's --all; --arch says nothing there
	for _, c := range app.Commands {
		check(c.Name, c.Flags)
		for name := range newOptionTable(c.Flags) {
			if _, ok := global[name]; ok && !hides[c.Name+" -"+name] {
				t.Errorf("%s has the option %s, which is global", c.Name, name)
			}
		}
	}
}

func TestParseBinds(t *testing.T) {
	env := newFixture(t, nil).env
	env.dir = "/w"
	got, err := parseBinds(env, []string{"/a", "/a:/b", "/a:/b:ro", "rel:/b:rw", "/a::ro"})
	want := []bind{{"/a", "/a", false}, {"/a", "/b", false}, {"/a", "/b", true}, {"/w/rel", "/b", false}, {"/a", "/a", true}}
	if err != nil || len(got) != len(want) {
		t.Fatalf("got %v, %v", got, err)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("bind %d: got %v, want %v", i, got[i], want[i])
		}
	}
	for _, bad := range []string{"", ":/b", "/a:b", "/a:/b:rx", "/a:/b:ro:x"} {
		if _, err := parseBinds(env, []string{bad}); exitCode(err) != exitUsage {
			t.Errorf("--bind %q: %v, want a usage error", bad, err)
		}
	}
}

func TestBuildArguments(t *testing.T) {
	f := newFixture(t, map[string]string{"FROM_ENV": "x", "EMPTY": ""})
	f.env.log = slog.New(newLineHandler(&f.stderr, slog.LevelInfo, false))
	got, err := parseBuildArgs(f.env, []string{"A=1=2,3", "FROM_ENV", "EMPTY", "MISSING", "B="})
	want := map[string]string{"A": "1=2,3", "FROM_ENV": "x", "EMPTY": "", "B": ""}
	if err != nil || len(got) != len(want) {
		t.Fatalf("got %v, %v; want %v", got, err, want)
	}
	for k, v := range want {
		if g, ok := got[k]; !ok || g != v {
			t.Errorf("%s: got %q, want %q", k, g, v)
		}
	}
	if w := "virga: warning: --build-arg MISSING: no such variable in the environment\n"; f.stderr.String() != w {
		t.Errorf("warning %q, want %q", &f.stderr, w)
	}
}

func TestPlatformOptions(t *testing.T) {
	for _, tc := range []struct {
		arch, platform string
		want           image.Platform
		yolo           bool
	}{
		{"", "", image.Host(), false},
		{"host", "", image.Host(), false},
		{"yolo", "", image.Host(), true},
		{"arm64/v8", "", image.Platform{OS: "linux", Arch: "arm64"}, false},
		{"", "linux/arm/v7", image.Platform{OS: "linux", Arch: "arm", Variant: "v7"}, false},
	} {
		var g globals
		if err := g.setPlatform(tc.arch, tc.platform); err != nil || g.platform != tc.want || g.anyPlatform != tc.yolo {
			t.Errorf("--arch %q --platform %q: %v %v %v", tc.arch, tc.platform, g.platform, g.anyPlatform, err)
		}
	}
}

func TestVerbosity(t *testing.T) {
	for args, want := range map[string]int{"": 0, "-v": 1, "-vv": 2, "-q": -1, "-q -q": -2, "--debug": 2, "-v --verbose": 2} {
		f := newFixture(t, map[string]string{"USER": "u"})
		if code := f.run(t, append(strings.Fields(args), "storage-path")...); code != 0 {
			t.Fatalf("%q: %s", args, &f.stderr)
		}
		if f.env.globals.verbosity != want {
			t.Errorf("%q: verbosity %d, want %d", args, f.env.globals.verbosity, want)
		}
	}
}

func TestLog(t *testing.T) {
	var b bytes.Buffer
	log := slog.New(newLineHandler(&b, slog.LevelDebug, false)).With("a", 1).WithGroup("g")
	log.Info("one", "b", "two words")
	log.Warn("two")
	log.Debug("three", slog.Group("h", "c", ""))
	log.Log(t.Context(), levelTrace, "not shown")
	want := "one a=1 g.b=\"two words\"\nvirga: warning: two a=1\nvirga: debug: three a=1 g.h.c=\"\"\n"
	if b.String() != want {
		t.Errorf("got\n%swant\n%s", &b, want)
	}
}

func TestLogFile(t *testing.T) {
	for _, key := range []string{"VIRGA_LOG_FILE", "CH_LOG_FILE"} {
		file := filepath.Join(t.TempDir(), "log")
		for range 2 {
			f := newFixture(t, map[string]string{key: file, "CH_IMAGE_STORAGE": "relative"})
			if code := f.run(t, "storage-path"); code != exitFailed {
				t.Fatalf("status %d, %s", code, &f.stderr)
			}
			if strings.HasPrefix(f.stderr.String(), "20") {
				t.Errorf("standard error has times: %q", &f.stderr)
			}
		}
		b, err := os.ReadFile(file)
		if err != nil || strings.Count(string(b), "virga: error: ") != 2 || !strings.HasPrefix(string(b), "20") {
			t.Errorf("%s: log file %q, %v; want two errors with times", key, b, err)
		}
	}
}

type advised struct{ error }

func (advised) Hint() string { return "first\nsecond" }

func TestReport(t *testing.T) {
	_, parseErr := parser.Parse("Dockerfile", []byte("FROM scratch\nRNU true\n"))
	if parseErr == nil {
		t.Fatal("the parser takes RNU")
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	for _, tc := range []struct {
		name string
		ctx  context.Context
		err  error
		code int
		want []string // parts, in order
	}{
		{"plain", t.Context(), errors.New("pull x: gone"), 1, []string{"virga: error: pull x: gone\n"}},
		{"own hint", t.Context(), advised{errors.New("e")}, 1, []string{"virga: error: e\nhint: first\nhint: second\n"}},
		{"full disk", t.Context(), &os.PathError{Op: "write", Path: "p", Err: syscall.ENOSPC}, 1, []string{"no space left", "hint: free some space"}},
		{"interrupt", canceled, context.Canceled, 1, []string{"virga: error: interrupted\n"}},
		{"program's status", t.Context(), &statusError{code: 7}, 7, nil},
		{"run failed", t.Context(), &statusError{code: 125, err: errors.New("no image")}, 125, []string{"virga: error: no image\n"}},
		{"dockerfile", t.Context(), parseErr, 1, []string{"virga: error: Dockerfile:2:1: ", "RNU true\n", "^\n"}},
	} {
		f := newFixture(t, nil)
		f.env.log = slog.New(newLineHandler(&f.stderr, slog.LevelInfo, false))
		f.env.report(tc.ctx, tc.err)
		got := f.stderr.String()
		rest := got
		for _, part := range tc.want {
			_, after, ok := strings.Cut(rest, part)
			if !ok {
				t.Errorf("%s: %q is not in\n%s", tc.name, part, got)
			}
			rest = after
		}
		if tc.want == nil && got != "" {
			t.Errorf("%s: printed %q", tc.name, got)
		}
		if code := exitCode(tc.err); code != tc.code {
			t.Errorf("%s: status %d, want %d", tc.name, code, tc.code)
		}
	}
}

func TestNearest(t *testing.T) {
	words := []string{"build", "pull", "push", "run", "rm", "list", "storage-path"}
	for in, want := range map[string]string{"biuld": "build", "pul": "pull", "lsit": "list", "storage": "storage-path", "xyzzy": "", "x": "", "rum": "run"} {
		if got := nearest(in, words); got != want {
			t.Errorf("nearest(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestHumanSize(t *testing.T) {
	for n, want := range map[int64]string{0: "0B", 999: "999B", 1000: "1kB", 1234567: "1.23MB", 999_600_000: "1GB", 590_000_000: "590MB"} {
		if got := humanSize(n); got != want {
			t.Errorf("humanSize(%d) = %q, want %q", n, got, want)
		}
	}
}

// The scripts are accepted by the shells that are installed.
func TestCompletionSyntax(t *testing.T) {
	for shell, args := range map[string][]string{"bash": {"-n"}, "zsh": {"-n"}, "fish": {"--no-execute"}} {
		f := newFixture(t, nil)
		if code := f.run(t, "completion", shell); code != 0 {
			t.Fatalf("completion %s: %s", shell, &f.stderr)
		}
		path, err := exec.LookPath(shell)
		if err != nil {
			continue
		}
		file := filepath.Join(t.TempDir(), "script")
		if err := os.WriteFile(file, f.out.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.CommandContext(t.Context(), path, append(args, file)...).CombinedOutput(); err != nil {
			t.Errorf("%s refuses the script: %v\n%s", shell, err, out)
		}
	}
}
