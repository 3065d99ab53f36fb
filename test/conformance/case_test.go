package conformance

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// testCase is a directory of cases/: a Dockerfile, and if they are needed
//
//	context/   files of the build context
//	setup      a shell script, run in the context, for what git does not keep
//	args       options of build, one word a line
//	want       how virga's result differs from buildah's
type testCase struct {
	name, dir string
	args      []string
	file      string
}

// loadCase reads dir/name. The option -f of args names the Dockerfile where
// setup has put it.
func loadCase(dir, name string) (*testCase, error) {
	c := &testCase{name: name, dir: filepath.Join(dir, name), file: "Dockerfile"}
	text, err := os.ReadFile(filepath.Join(c.dir, "args"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	c.args = strings.Fields(string(text))
	if len(c.args) > 1 && c.args[0] == "-f" {
		c.file, c.args = c.args[1], c.args[2:]
	}
	return c, nil
}

// prepare makes the context below work, readable by the user.
func (c *testCase) prepare(ctx context.Context, p *place, as *syscall.Credential) (job, error) {
	top := filepath.Join(p.work, "cases", c.name)
	j := job{dir: filepath.Join(top, "context"), file: c.file, tag: c.name, args: c.args}
	if err := os.MkdirAll(j.dir, 0o755); err != nil {
		return j, err
	}
	from := filepath.Join(c.dir, "context")
	if _, err := os.Stat(from); err == nil {
		if err := os.CopyFS(j.dir, os.DirFS(from)); err != nil {
			return j, err
		}
	}
	text, err := os.ReadFile(filepath.Join(c.dir, "Dockerfile"))
	if err == nil {
		err = os.WriteFile(filepath.Join(j.dir, "Dockerfile"), text, 0o644)
	}
	if err != nil {
		return j, err
	}
	if script, err := filepath.Abs(filepath.Join(c.dir, "setup")); err != nil {
		return j, err
	} else if _, err := os.Stat(script); err == nil {
		if said, err := command(ctx, j.dir, p.env(p.work), nil, "/bin/sh", "-eu", script); err != nil {
			return j, fmt.Errorf("setup: %w\n%s", err, said)
		}
	}
	return j, filepath.WalkDir(top, func(path string, _ fs.DirEntry, err error) error {
		return errors.Join(err, os.Lchown(path, int(as.Uid), int(as.Gid)))
	})
}

// want is what a case expects of virga, measured by a peer.
type want struct {
	names []string // accepted differences, explained in the file accepted
	fails string   // what virga says when it must fail
	peer  bool     // the peer fails
	lines []string // "- line" has only the peer, "+ line" only virga
}

// readWant reads a want file:
//
//	# NAME...             why there is a difference
//	fails virga: TEXT
//	fails PEER
//	- LINE                of the peer's image alone
//	+ LINE                of virga's image alone
//
// Where the peer fails, all lines of virga's image that the base has not are there.
func readWant(file string) (*want, error) {
	w := &want{}
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return w, nil
	}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case strings.HasPrefix(line, "# "):
			w.names = append(w.names, strings.Fields(line[2:])...)
		case strings.HasPrefix(line, "fails virga: "):
			w.fails = strings.TrimPrefix(line, "fails virga: ")
		case strings.HasPrefix(line, "fails "):
			w.peer = true
		case strings.HasPrefix(line, "- "), strings.HasPrefix(line, "+ "):
			w.lines = append(w.lines, line)
		default:
			return w, fmt.Errorf("%s: line %q", file, line)
		}
	}
	return w, err
}

// write is -update: what was found, under the names that were there.
func (w *want) write(file, peer string) error {
	if len(w.lines) == 0 && w.fails == "" && !w.peer {
		err := os.Remove(file)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	var b strings.Builder
	if len(w.names) > 0 {
		fmt.Fprintln(&b, "#", strings.Join(w.names, " "))
	}
	if w.fails != "" {
		fmt.Fprintln(&b, "fails virga:", w.fails)
	}
	if w.peer {
		fmt.Fprintln(&b, "fails", peer)
	}
	for _, l := range w.lines {
		fmt.Fprintln(&b, l)
	}
	return os.WriteFile(file, []byte(b.String()), 0o644)
}

// difference lists what only one of the two has, by name.
func difference(peer, virga listing) []string {
	names := maps.Clone(peer)
	maps.Copy(names, virga)
	var out []string
	for _, n := range slices.Sorted(maps.Keys(names)) {
		a, inA := peer[n]
		b, inB := virga[n]
		if inA && a != b {
			out = append(out, fmt.Sprintf("- %s: %s", n, a))
		}
		if inB && (!inA || a != b) {
			out = append(out, fmt.Sprintf("+ %s: %s", n, b))
		}
	}
	return out
}

// added lists what img has beyond base, and what it lacks if it is made from
// base at all.
func added(base, img listing) []string {
	_, from := img["/bin/busybox"]
	lines := difference(base, img)
	if !from {
		lines = slices.DeleteFunc(lines, func(l string) bool { return l[0] == '-' })
	}
	return lines
}

// accepted reads the file of accepted differences: a name in the first
// column, and its reason indented below.
func accepted() (map[string]string, error) {
	text, err := os.ReadFile("accepted")
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	name := ""
	for line := range strings.Lines(string(text)) {
		switch {
		case strings.TrimSpace(line) == "" || line[0] == '#':
		case line[0] != ' ':
			name = strings.TrimSpace(line)
			out[name] = ""
		default:
			out[name] += line
		}
	}
	return out, nil
}
