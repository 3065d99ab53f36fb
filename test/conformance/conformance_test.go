// Package conformance builds Dockerfiles with virga, as a normal user, and
// with buildah, as root, and compares the images: every path with its type,
// mode, owner, contents and link target, and the configuration. Times are not
// compared.
//
// Where buildah 1.28 differs from Docker's reference (BuildKit), virga is as
// BuildKit. Such a case has a file want with the lines that differ, under the
// name of a difference that the file accepted explains. With -buildkit the
// images are compared with BuildKit's own too, which should differ in nothing;
// the exceptions are in files want.buildkit.
//
// BuildKit's programs come from go install
// github.com/moby/buildkit/cmd/buildkitd@v0.34.2, buildctl alike, and Debian's
// runc.
//
// Another test, TestTruth, installs Debian packages under emulated root and as
// real root, and compares what was pushed.
//
// The tests run if $VIRGA_CONFORMANCE names the virga binary; make conformance
// sees to the rest. No network is used but the loopback interface, and by
// TestTruth, Debian's mirror.
package conformance

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
)

var (
	update    = flag.Bool("update", false, "write the want files anew")
	reference = flag.String("buildkit", "", "compare with BuildKit too, whose programs are in `DIR`")
)

// minimum is how many cases there are at least (a lost directory must not go
// unnoticed).
const minimum = 120

// suite is what all cases share.
type suite struct {
	place
	virga    *virga
	buildah  *buildah
	buildkit *buildkit // nil: none
	base     listing   // of the image base
	reasons  map[string]string
}

func TestConformance(t *testing.T) {
	binary := os.Getenv("VIRGA_CONFORMANCE")
	if binary == "" {
		t.Skip("$VIRGA_CONFORMANCE does not name the virga binary; use make conformance")
	}
	if os.Geteuid() != 0 {
		t.Skip("buildah must run as root to be able to set owners")
	}
	if _, err := exec.LookPath("buildah"); err != nil {
		t.Skip("buildah is not installed")
	}
	s := newSuite(t, binary)
	names := directories(t, "cases")
	if len(names) < minimum {
		t.Errorf("%d cases, want at least %d", len(names), minimum)
	}
	t.Run("cases", func(t *testing.T) {
		for _, name := range names {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				s.run(t, name)
			})
		}
	})
}

func newSuite(t *testing.T, binary string) *suite {
	t.Helper()
	work, err := os.MkdirTemp("/var/tmp", "virga-conformance")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(work); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(work, 0o755); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	p := place{work: work, registry: strings.TrimPrefix(server.URL, "http://")}
	s := &suite{place: p, virga: newVirga(t, p, binary), buildah: newBuildah(t, p)}
	if *reference != "" {
		s.buildkit = newBuildkit(t, p, *reference)
	}
	if s.reasons, err = accepted(); err != nil {
		t.Fatal(err)
	}
	s.bases(t)
	return s
}

// directories lists the directories in dir.
func directories(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		if e.IsDir() {
			out = append(out, e.Name())
		}
	}
	return out
}

// bases makes the images that cases are built from: base of busybox, and those
// of bases/ from it, in this order.
func (s *suite) bases(t *testing.T) {
	t.Helper()
	for _, name := range append([]string{"base"}, slices.DeleteFunc(directories(t, "bases"), func(n string) bool { return n == "base" })...) {
		c, err := loadCase("bases", name)
		if err != nil {
			t.Fatal(err)
		}
		j, err := c.prepare(t.Context(), &s.place, s.virga.as)
		if err == nil && name == "base" {
			err = writeBase(filepath.Join(j.dir, "base.tar.gz"))
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range s.builders() {
			if err := b.keep(t.Context(), j); err != nil {
				t.Fatalf("image %s: %v", name, err)
			}
		}
	}
	var err error
	if s.base, err = s.read(t.Context(), "virga/base"); err != nil {
		t.Fatal(err)
	}
}

func (s *suite) builders() []builder {
	out := []builder{s.virga, s.buildah}
	if s.buildkit != nil {
		out = append(out, s.buildkit)
	}
	return out
}

// run builds one case everywhere and compares.
func (s *suite) run(t *testing.T, name string) {
	c, err := loadCase("cases", name)
	if err != nil {
		t.Fatal(err)
	}
	j, err := c.prepare(t.Context(), &s.place, s.virga.as)
	if err != nil {
		t.Fatal(err)
	}
	got, gotErr := s.image(t.Context(), s.virga, "virga", j)
	s.compare(t, c, j, s.buildah, "buildah", "want", got, gotErr)
	if s.buildkit != nil {
		s.compare(t, c, j, s.buildkit, "buildkit", "want.buildkit", got, gotErr)
	}
}

func (s *suite) image(ctx context.Context, b builder, name string, j job) (listing, error) {
	if _, err := b.build(ctx, j); err != nil {
		return nil, err
	}
	l, err := s.read(ctx, name+"/"+j.tag)
	if err != nil {
		return nil, fmt.Errorf("BUG: image of %s: %w", name, err)
	}
	return l, nil
}

// compare judges virga's image by a peer's and by the file want.
func (s *suite) compare(t *testing.T, c *testCase, j job, peer builder, name, file string, got listing, gotErr error) {
	file = filepath.Join(c.dir, file)
	w, err := readWant(file)
	if err != nil {
		t.Fatal(err)
	}
	other, otherErr := s.image(t.Context(), peer, name, j)
	found := &want{names: w.names, peer: otherErr != nil}
	switch {
	case gotErr != nil:
		found.fails = w.fails
		if w.fails == "" || !strings.Contains(gotErr.Error(), w.fails) {
			found.fails = lastError(gotErr)
		}
	case otherErr != nil:
		found.lines = added(s.base, got)
	default:
		found.lines = difference(other, got)
	}
	if name == "buildkit" && gotErr != nil && otherErr != nil {
		return // virga's message is judged with buildah's result
	}
	if *update {
		if err := found.write(file, name); err != nil {
			t.Fatal(err)
		}
		w = found
	}
	s.judge(t, name, w, found, gotErr, otherErr)
}

func (s *suite) judge(t *testing.T, peer string, w, found *want, gotErr, otherErr error) {
	t.Helper()
	if w.fails != found.fails {
		t.Errorf("virga: %v\nwant failure %q", gotErr, w.fails)
	}
	if w.peer != found.peer {
		t.Errorf("%s: %v\nwant failure: %v", peer, otherErr, w.peer)
	}
	for _, l := range found.lines {
		if !slices.Contains(w.lines, l) {
			t.Errorf("virga (+) against %s (-): unexpected: %s", peer, l)
		}
	}
	for _, l := range w.lines {
		if !slices.Contains(found.lines, l) {
			t.Errorf("virga (+) against %s (-): missing: %s", peer, l)
		}
	}
	differs := len(w.lines) > 0 || (w.fails != "") != w.peer
	if differs != (len(w.names) > 0) {
		t.Errorf("the difference to %s has %d names: each needs one, and only a difference does", peer, len(w.names))
	}
	for _, n := range w.names {
		if strings.TrimSpace(s.reasons[n]) == "" {
			t.Errorf("difference %q has no reason in the file accepted", n)
		}
	}
}

// lastError is the message of a failed virga.
func lastError(err error) string {
	for line := range strings.Lines(err.Error()) {
		if msg, ok := strings.CutPrefix(line, "virga: error: "); ok {
			return strings.TrimSpace(msg)
		}
	}
	return err.Error()
}

// Every accepted difference is used by a case.
func TestAcceptedIsUsed(t *testing.T) {
	reasons, err := accepted()
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("cases/*/want*")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		w, err := readWant(f)
		if err != nil {
			t.Error(err)
			continue
		}
		for _, n := range w.names {
			if _, ok := reasons[n]; !ok {
				t.Errorf("%s: %q is not explained in the file accepted", f, n)
			}
			reasons[n] = "used"
		}
	}
	for n, r := range reasons {
		if r != "used" {
			t.Errorf("difference %q: no case has it", n)
		}
	}
}

// etc are the files of the base image that say who there is.
var etc = map[string]string{
	"passwd": "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1::/:/bin/false\nalice:x:1000:1000:Alice:/home/alice:/bin/sh\nbob:x:1001:100::/home/bob:/bin/sh\n77:x:4242:4343::/:/bin/sh\n",
	"group":  "root:x:0:\ndaemon:x:1:\nusers:x:100:\nstaff:x:50:alice,bob\nwheel:x:10:alice\nalice:x:1000:\n88:x:5252:\n",
	"motd":   "welcome\n",
	"hosts":  "", "resolv.conf": "", "hostname": "",
}

// writeBase makes the root file system of the image base: busybox, two
// users, and places for what a RUN mounts.
func writeBase(file string) (err error) {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	zw := gzip.NewWriter(f)
	tw := tar.NewWriter(zw)
	if err := addBase(tw); err != nil {
		return err
	}
	return errors.Join(tw.Close(), zw.Close())
}

func addBase(tw *tar.Writer) error {
	var err error
	add := func(name string, kind byte, mode int64, owner int, text string) {
		h := &tar.Header{Name: name, Typeflag: kind, Mode: mode, Uid: owner, Gid: owner}
		if kind == tar.TypeSymlink {
			h.Linkname, text = text, ""
		}
		h.Size = int64(len(text))
		if err == nil {
			err = tw.WriteHeader(h)
		}
		if err == nil {
			_, err = io.WriteString(tw, text)
		}
	}
	for _, d := range []string{"bin", "dev", "etc", "home", "proc", "run", "sbin", "sys", "usr", "usr/bin", "usr/sbin", "var"} {
		add(d+"/", tar.TypeDir, 0o755, 0, "")
	}
	add("root/", tar.TypeDir, 0o700, 0, "")
	add("tmp/", tar.TypeDir, 0o1777, 0, "")
	add("home/alice/", tar.TypeDir, 0o750, 1000, "")
	for _, n := range []string{"passwd", "group", "hosts", "resolv.conf", "hostname", "motd"} {
		add("etc/"+n, tar.TypeReg, 0o644, 0, etc[n])
	}
	for _, path := range []string{"/bin/busybox", "/usr/bin/busybox"} {
		if b, rerr := os.ReadFile(path); rerr == nil {
			add("bin/busybox", tar.TypeReg, 0o755, 0, string(b))
			break
		}
	}
	applets, lerr := exec.Command("busybox", "--list").Output()
	for name := range strings.FieldsSeq(string(applets)) {
		if name != "busybox" {
			add("bin/"+name, tar.TypeSymlink, 0o777, 0, "busybox")
		}
	}
	return errors.Join(err, lerr)
}
