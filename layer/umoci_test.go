package layer

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	umoci "github.com/opencontainers/umoci/oci/layer"
)

// randomImage is an image whose layers replace, hide, link and follow each
// other's files. Names are few, so that they meet. It has either whiteouts or
// directories of several modes: umoci lets a directory that is hidden, but implied
// by its own layer, keep the mode that it had.
func randomImage(r *rand.Rand) [][]entry {
	name := func() string {
		parts := []string{}
		for range 1 + r.IntN(3) {
			parts = append(parts, string(rune('a'+r.IntN(4))))
		}
		return strings.Join(parts, "/")
	}
	n := 0
	stamp := func(e entry) entry {
		n++
		e.ModTime = time.Unix(int64(1_000_000_000+n), 0)
		return e
	}
	var layers [][]entry
	var files []string
	hiding := r.IntN(2) == 0
	for l := range 1 + r.IntN(4) {
		var es []entry
		for range 4 + r.IntN(12) {
			p := name()
			if up, _ := splitName(p); up != "." && r.IntN(3) > 0 {
				es = append(es, stamp(dir(up)))
			}
			var e entry
			switch k := r.IntN(16); {
			case k < 4:
				e = dir(p)
				if !hiding {
					e = e.mode(int64(0o700 | r.IntN(0o100)&^0o002))
				}
			case k < 9:
				files = append(files, p)
				e = file(p, fmt.Sprintf("layer %d, member %d", l, n)).mode(int64(r.IntN(0o1000) | 0o702))
			case k < 11:
				e = sym(p, []string{"/d", "b/c", "../a", "/a/b", "../../../c", "/nowhere"}[r.IntN(6)])
			case k < 13 && len(files) > 0:
				e = hard(p, files[len(files)-1-r.IntN(min(4, len(files)))])
			case k < 15 && l > 0 && hiding:
				up, base := splitName(p)
				e = wh(join(up, ".wh."+base))
			case k == 15 && l > 0 && hiding:
				e = wh(join(p, ".wh..wh..opq"))
			default:
				e = special(kindFifo, p).mode(0o702)
			}
			es = append(es, stamp(e))
		}
		layers = append(layers, es)
	}
	return layers
}

// likeUmoci describes a tree for comparison: true modes, and times of what
// is not a directory.
func likeUmoci(t *testing.T, root string, u *Unpacked) []string {
	var lines []string
	for _, line := range describe(t, root, nil, true) {
		fields := strings.Fields(line)
		if fields[1] == "." {
			continue
		}
		if rec, ok := u.Owners[fields[1]]; ok && rec.HasPerm && fields[0] != "hard" {
			fields[2] = fmt.Sprintf("%o", rec.Perm)
		}
		if fields[0] == "dir" {
			fields = fields[:3]
			// The mode of a file, which umoci gives to the directory that
			// members below the file's name imply.
			if mode, err := strconv.ParseUint(fields[2], 8, 32); err == nil && mode&0o002 != 0 {
				fields[2] = "755"
			}
		}
		lines = append(lines, strings.Join(fields, " "))
	}
	return lines
}

// TestLikeUmoci compares trees with those of umoci's unpacker, which is
// careful and slow. Images that it refuses (members below files, hard links to
// nothing) are passed over.
func TestLikeUmoci(t *testing.T) {
	images := 200
	if testing.Short() {
		images = 20
	}
	opts := umociOptions()
	compared := 0
	for seed := uint64(0); compared < images; seed++ {
		layers := blobs(t, randomImage(rand.New(rand.NewPCG(seed, 7)))...)
		top := t.TempDir()
		theirs := filepath.Join(top, "theirs")
		if err := os.Mkdir(theirs, 0o755); err != nil {
			t.Fatal(err)
		}
		var theirErr error
		for _, b := range layers {
			r, _ := b.Open(t.Context())
			if theirErr = umoci.UnpackLayer(theirs, r, opts); theirErr != nil {
				break
			}
		}
		a := newArena(t)
		u, err := Unpack(t.Context(), a.root, layers, Options{})
		a.check(t)
		if theirErr != nil {
			continue // an image that is none for umoci
		}
		if err != nil {
			t.Errorf("seed %d: umoci unpacks it, but: %v", seed, err)
			continue
		}
		compared++
		got, want := likeUmoci(t, a.root, u), likeUmoci(t, theirs, &Unpacked{})
		if !slices.Equal(got, want) {
			t.Errorf("seed %d", seed)
			equalLines(t, "tree", got, want)
		}
		os.RemoveAll(top)
		os.RemoveAll(filepath.Dir(a.root))
	}
}

// umociOptions are those of umoci unpack --rootless.
func umociOptions() *umoci.UnpackOptions {
	return &umoci.UnpackOptions{OnDiskFormat: umoci.DirRootfs{MapOptions: umoci.MapOptions{
		Rootless:    true,
		UIDMappings: []specs.LinuxIDMapping{{HostID: uint32(os.Geteuid()), ContainerID: 0, Size: 1}},
		GIDMappings: []specs.LinuxIDMapping{{HostID: uint32(os.Getegid()), ContainerID: 0, Size: 1}},
	}}}
}

// TestLikeUmociDebian compares the trees of a Debian base with a second layer
// on top that hides, replaces and links what is in it.
func TestLikeUmociDebian(t *testing.T) {
	path := os.Getenv("VIRGA_TEST_DEBIAN_TAR")
	if path == "" {
		t.Skip("VIRGA_TEST_DEBIAN_TAR names no tarball of a Debian root file system")
	}
	base := Blob{Digest: "sha256:debian", Open: func(context.Context) (io.ReadCloser, error) { return os.Open(path) }}
	top := blob(archive(t, wh("usr/.wh.games"), dir("usr/share/doc").mode(0o755), wh("usr/share/doc/.wh..wh..opq"), file("usr/share/doc/new", "new"),
		file("bin/sh", "replaced, through the link bin"), hard("usr/bin/other", "usr/bin/dpkg"), wh("etc/.wh.hostname"), sym("etc/hostname", "/proc/x"),
		file("usr/share/zoneinfo", "no directory any more")))
	theirs := t.TempDir()
	for _, b := range []Blob{base, top} {
		r, err := b.Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		zr, _, err := Decompress(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := umoci.UnpackLayer(theirs, zr, umociOptions()); err != nil {
			t.Fatal(err)
		}
		r.Close()
	}
	// What ours does not have: devices.
	if err := os.RemoveAll(filepath.Join(theirs, "dev")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(theirs, "dev"), 0o755); err != nil {
		t.Fatal(err)
	}
	ours := newArena(t).root
	u, err := Unpack(t.Context(), ours, []Blob{base, top}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	got, want := likeUmoci(t, ours, u), likeUmoci(t, theirs, &Unpacked{})
	if len(got) < 1000 {
		t.Errorf("only %d files", len(got))
	}
	differ := 0
	for i := range max(len(got), len(want)) {
		var g, w string
		if i < len(got) {
			g = got[i]
		}
		if i < len(want) {
			w = want[i]
		}
		if g != w {
			if differ++; differ <= 10 {
				t.Errorf("got  %s\nwant %s", g, w)
			}
		}
	}
}
