package layer

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"virga/fakeroot"
)

// listing describes the members of an archive, one line each, in order.
func listing(t testing.TB, b []byte) []string {
	t.Helper()
	var lines []string
	tr := tar.NewReader(bytes.NewReader(b))
	for {
		h, err := tr.Next()
		if err == io.EOF {
			return lines
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(tr)
		if err != nil {
			t.Fatal(err)
		}
		line := fmt.Sprintf("%c %s %o %d:%d", h.Typeflag, h.Name, h.Mode, h.Uid, h.Gid)
		if h.Linkname != "" {
			line += " -> " + h.Linkname
		}
		if h.Typeflag == tar.TypeChar || h.Typeflag == tar.TypeBlock {
			line += fmt.Sprintf(" %d,%d", h.Devmajor, h.Devminor)
		}
		if len(data) > 0 {
			line += fmt.Sprintf(" %.20q", data)
		}
		for k, v := range h.PAXRecords {
			if strings.HasPrefix(k, "SCHILY") {
				line += fmt.Sprintf(" %s=%q", k, v)
			}
		}
		if h.Uname != "" || h.Gname != "" {
			t.Errorf("%s has names of owners: %s:%s", h.Name, h.Uname, h.Gname)
		}
		lines = append(lines, line)
	}
}

func packed(t testing.TB, dir string, owners fakeroot.Table, opts PackOptions) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := Pack(t.Context(), &b, dir, owners, opts); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// sample makes a directory with one of everything.
func sample(t testing.TB) (string, fakeroot.Table) {
	t.Helper()
	root := t.TempDir()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	at := func(name string) string { return filepath.Join(root, name) }
	must(os.Mkdir(at("d"), 0o755))
	must(os.WriteFile(at("d/z"), []byte("z"), 0o644))
	must(os.Link(at("d/z"), at("d/a")))
	must(os.WriteFile(at("d.x"), nil, 0o644))
	must(os.WriteFile(at("su"), []byte("su"), 0o700))
	must(os.Chmod(at("su"), 0o755|os.ModeSetuid))
	must(os.WriteFile(at("secret"), []byte("s"), 0o600))
	must(os.WriteFile(at("null"), nil, 0o600))
	must(os.Symlink("../x", at("s")))
	must(unix.Mkfifo(at("p"), 0o644))
	must(os.Chmod(root, 0o755))
	return root, fakeroot.Table{
		"d":      {UID: 5, GID: 6},
		"d/z":    {UID: 7},
		"d/a":    {UID: 7},
		"s":      {GID: 8},
		"secret": {Perm: 0o000, HasPerm: true},
		"su":     {Perm: 0o500, HasPerm: true}, // chmod since: no longer true
		"null":   {Type: unix.S_IFCHR, Rdev: unix.Mkdev(1, 3), Xattrs: map[string][]byte{"security.x": []byte("y")}},
	}
}

func TestPackMembers(t *testing.T) {
	root, owners := sample(t)
	cases := []struct {
		name string
		opts PackOptions
		want []string
	}{
		{"plain", PackOptions{}, []string{
			"5 ./ 755 0:0", "5 d/ 755 5:6", `0 d/a 644 7:0 "z"`, "1 d/z 644 7:0 -> d/a", "0 d.x 644 0:0",
			`3 null 600 0:0 1,3 SCHILY.xattr.security.x="y"`,
			"6 p 644 0:0", "2 s 777 0:8 -> ../x", `0 secret 0 0:0 "s"`, `0 su 4755 0:0 "su"`,
		}},
		{"flat owners, as an upper directory", PackOptions{FlattenOwners: true, Whiteouts: true}, []string{
			"5 d/ 755 0:0", `0 d/a 644 0:0 "z"`, "1 d/z 644 0:0 -> d/a", "0 d.x 644 0:0",
			`3 null 600 0:0 1,3 SCHILY.xattr.security.x="y"`,
			"6 p 644 0:0", "2 s 777 0:0 -> ../x", `0 secret 0 0:0 "s"`, `0 su 755 0:0 "su"`,
		}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			equalLines(t, "members", listing(t, packed(t, root, owners, c.opts)), c.want)
		})
	}
}

func TestPackTimes(t *testing.T) {
	root := t.TempDir()
	for name, sec := range map[string]int64{"new": 2000, "old": 500, "ancient": -7} {
		path := filepath.Join(root, name)
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		at := time.Unix(sec, 999)
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
	tr := tar.NewReader(bytes.NewReader(packed(t, root, nil, PackOptions{MaxTime: 1000, Whiteouts: true})))
	for _, want := range []int64{-7, 1000, 500} {
		h, err := tr.Next()
		if err != nil {
			t.Fatal(err)
		}
		if h.ModTime != time.Unix(want, 0) {
			t.Errorf("time of %s is %v, want %v", h.Name, h.ModTime, time.Unix(want, 0))
		}
	}
}

func TestPackWhiteouts(t *testing.T) {
	root := t.TempDir()
	if err := unix.Mknod(filepath.Join(root, "gone"), unix.S_IFCHR, 0); err != nil {
		t.Skipf("no device 0:0: %v", err) // Linux 5.8 and later let anyone
	}
	opaque := filepath.Join(root, "opaque")
	if err := os.Mkdir(opaque, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setxattr(opaque, "user.overlay.opaque", []byte("y"), 0); err != nil {
		t.Skipf("no extended attributes: %v", err)
	}
	unix.Setxattr(opaque, "user.overlay.origin", []byte("x"), 0)
	unix.Setxattr(opaque, "user.mine", []byte("m"), 0)
	if err := os.WriteFile(filepath.Join(opaque, "new"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	equalLines(t, "members", listing(t, packed(t, root, nil, PackOptions{Whiteouts: true})), []string{
		"0 .wh.gone 0 0:0", `5 opaque/ 755 0:0 SCHILY.xattr.user.mine="m"`,
		"0 opaque/.wh..wh..opq 0 0:0", "0 opaque/new 644 0:0",
	})
}

func TestPackReservedName(t *testing.T) {
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, ".wh.x"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	err := Pack(t.Context(), io.Discard, root, nil, PackOptions{})
	if err == nil || !strings.Contains(err.Error(), `path ".wh.x": names in a layer cannot begin with .wh.`) {
		t.Errorf("error is %v", err)
	}
}

func TestPortableCapability(t *testing.T) {
	v3 := "\x01\x00\x00\x03" + strings.Repeat("c", 16) + "\xe8\x03\x00\x00"
	v2 := "\x01\x00\x00\x02" + strings.Repeat("c", 16)
	for in, want := range map[string]string{v3: v2, v2: v2, "": "", "short": "short"} {
		if got := string(portableCapability([]byte(in))); got != want {
			t.Errorf("portableCapability(%q) is %q, want %q", in, got, want)
		}
	}
}

// randomTree is a layer of n members that cover every kind.
func randomTree(r *rand.Rand, n int) []entry {
	root := dir(".")
	root.ModTime = time.Unix(1e9, 0)
	es := []entry{root}
	dirs, files := []string{""}, []string{}
	for i := range n {
		name := fmt.Sprintf("%s%c%d", dirs[r.IntN(len(dirs))], 'a'+r.IntN(26), i)
		var e entry
		switch k := r.IntN(10); {
		case k < 2:
			e = dir(name).mode(int64(r.IntN(0o10000)))
			dirs = append(dirs, name+"/")
		case k == 2:
			e = sym(name, "target")
		case k == 3 && len(files) > 0:
			e = hard(name, files[r.IntN(len(files))])
		case k == 4:
			e = special(kindFifo, name)
		default:
			size := r.IntN(100)
			if r.IntN(20) == 0 {
				size = r.IntN(3 * smallFile)
			}
			e = file(name, strings.Repeat(string(rune('a'+i%26)), size)).mode(int64(r.IntN(0o10000)))
			files = append(files, name)
		}
		if r.IntN(3) == 0 && e.Typeflag != kindHard {
			e = e.owner(r.IntN(3000), r.IntN(3_000_000))
		}
		e.ModTime = time.Unix(int64(r.IntN(2e9)), 0)
		es = append(es, e)
	}
	return es
}

// TestRoundTrip: a packed tree unpacks to the same tree, and that packs to the same bytes.
func TestRoundTrip(t *testing.T) {
	for seed := range uint64(10) {
		r := rand.New(rand.NewPCG(seed, 1))
		one, two := newArena(t), newArena(t)
		u1, err := Unpack(t.Context(), one.root, blobs(t, randomTree(r, 200)), Options{})
		if err != nil {
			t.Fatal(err)
		}
		p1 := packed(t, one.root, u1.Owners, PackOptions{})
		u2, err := Unpack(t.Context(), two.root, []Blob{blob(p1)}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		equalLines(t, "tree", describe(t, two.root, u2.Owners, true), describe(t, one.root, u1.Owners, true))
		if p2 := packed(t, two.root, u2.Owners, PackOptions{}); !bytes.Equal(p1, p2) {
			t.Errorf("seed %d: the second archive differs", seed)
		}
		id, size, err := DiffID(t.Context(), two.root, u2.Owners, PackOptions{})
		if err != nil || id != u2.DiffIDs[0] || size != int64(len(p1)) {
			t.Errorf("DiffID is %s, %d bytes, %v; want %s, %d", id, size, err, u2.DiffIDs[0], len(p1))
		}
	}
}

// TestPackDeterminism: order of creation and number of processors mean nothing.
func TestPackDeterminism(t *testing.T) {
	r := rand.New(rand.NewPCG(42, 1))
	es := randomTree(r, 300)
	var want []byte
	for _, procs := range []int{1, 2, 4, 8} {
		old := runtime.GOMAXPROCS(procs)
		a := newArena(t)
		u, err := Unpack(t.Context(), a.root, blobs(t, es), Options{})
		if err != nil {
			t.Fatal(err)
		}
		plain := packed(t, a.root, u.Owners, PackOptions{})
		var all bytes.Buffer
		for _, c := range []Compression{Uncompressed, Gzip, Zstd} {
			zw, err := Compress(&all, c, 0)
			if err != nil {
				t.Fatal(err)
			}
			// Writes of any size.
			for rest := plain; len(rest) > 0; {
				n := min(len(rest), 1+r.IntN(1<<20))
				if _, err := zw.Write(rest[:n]); err != nil {
					t.Fatal(err)
				}
				rest = rest[n:]
			}
			if err := zw.Close(); err != nil {
				t.Fatal(err)
			}
		}
		runtime.GOMAXPROCS(old)
		if want == nil {
			want = all.Bytes()
		} else if !bytes.Equal(want, all.Bytes()) {
			t.Errorf("with %d processors the bytes differ", procs)
		}
	}
}

func TestCompressRoundTrip(t *testing.T) {
	want := strings.Repeat("all the same ", 300_000)
	for _, c := range []Compression{Uncompressed, Gzip, Zstd} {
		var b bytes.Buffer
		zw, err := Compress(&b, c, 1)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(zw, want)
		if err := zw.Close(); err != nil {
			t.Fatal(err)
		}
		zr, got, err := Decompress(&b)
		if err != nil || got != c {
			t.Fatalf("compression is %v (%v), want %v", got, err, c)
		}
		if s, err := io.ReadAll(zr); err != nil || string(s) != want {
			t.Errorf("%v: %d bytes (%v), want %d", c, len(s), err, len(want))
		}
	}
	if _, err := Compress(io.Discard, Xz, 0); err == nil {
		t.Error("xz can be written")
	}
}

func TestPackCancelled(t *testing.T) {
	root, owners := sample(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Pack(ctx, io.Discard, root, owners, PackOptions{}); err == nil {
		t.Error("no error")
	}
}

// TestPackNoHandlesLeft: an error in the middle leaves no directory open.
func TestPackNoHandlesLeft(t *testing.T) {
	a := newArena(t)
	if _, err := Unpack(t.Context(), a.root, blobs(t, randomTree(rand.New(rand.NewPCG(1, 1)), 500)), Options{}); err != nil {
		t.Fatal(err)
	}
	before := openFiles(t)
	for n := range 20 {
		if err := Pack(t.Context(), &fullWriter{n * 700}, a.root, nil, PackOptions{}); err == nil {
			t.Fatal("no error")
		}
	}
	if after := openFiles(t); after > before {
		t.Errorf("%d files open, %d before", after, before)
	}
}

type fullWriter struct{ room int }

func (w *fullWriter) Write(p []byte) (int, error) {
	if w.room -= len(p); w.room < 0 {
		return 0, unix.ENOSPC
	}
	return len(p), nil
}

func openFiles(t testing.TB) int {
	t.Helper()
	names, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip(err)
	}
	return len(names)
}
