package storage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"virga/image"
)

func names(images []Image) string {
	var refs []string
	for _, img := range images {
		refs = append(refs, img.Ref)
	}
	return strings.Join(refs, " ")
}

func TestPutImage(t *testing.T) {
	s := newTest(t)
	ctx := context.Background()
	long := "example.org/" + strings.Repeat("long/", 40) + "name:" + strings.Repeat("t", 128)
	for _, r := range []string{"app", "docker.io/library/debian:12", "localhost:5000/a/b:x_Y.z", long} {
		img := must(addImage(s, r, r))(t)
		got := must(s.Image(ref(t, r)))(t)
		if got.Ref != ref(t, r).String() || got.ID != img.ID || !reflect.DeepEqual(got.Chain, img.Chain) || got.Stored.IsZero() {
			t.Errorf("%s: got %+v, want %+v", r, got, img)
		}
		link := s.path(imgDir, fileName(ref(t, r)))
		if b, err := os.ReadFile(link + "/file"); err != nil || string(b) != r {
			t.Errorf("%s: through its link: %q, %v", r, b, err)
		}
	}
	checkClean(t, s)

	// Another image under the same name, no longer of one tree.
	base := must(s.Image(ref(t, "app")))(t)
	top := must(addTree(s, NewTreeID(), "top"))(t)
	base.Chain = append(base.Chain, top.ID)
	if err := s.PutImage(ctx, *base); err != nil {
		t.Fatal(err)
	}
	if exists(s.path(imgDir, "app+latest")) {
		t.Error("a chain of two has a link")
	}
	base.Flat = top.ID
	if err := s.PutImage(ctx, *base); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(s.path(imgDir, "app+latest", "file")); err != nil || string(b) != "top" {
		t.Errorf("flat image: %q, %v", b, err)
	}
	checkClean(t, s)

	for name, change := range map[string]func(*Image){
		"tree missing":   func(i *Image) { i.Chain = []TreeID{NewTreeID()} },
		"no trees":       func(i *Image) { i.Chain = nil },
		"config missing": func(i *Image) { i.ID = digest.FromString("?") },
		"bad reference":  func(i *Image) { i.Ref = "UPPER" },
	} {
		bad := *base
		bad.Ref = "bad"
		change(&bad)
		if err := s.PutImage(ctx, bad); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := s.Image(ref(t, "bad")); !errors.Is(err, ErrNotFound) {
		t.Errorf("a refused image is there: %v", err)
	}
}

// TestIncompleteManifest: a layer that was not packed because the registry had
// it, or that was collected before the record was there.
func TestIncompleteManifest(t *testing.T) {
	s := newTest(t)
	ctx := context.Background()
	img := must(addImage(s, "app", "app"))(t)
	layer := digest.FromString("layer")
	img.Digest = must(s.AddBlob(ctx, fmt.Appendf(nil, `{"config":{"digest":%q,"size":3},"layers":[{"digest":%q,"size":5}]}`, img.ID, layer)))(t)
	for _, want := range []digest.Digest{"", img.Digest} {
		if err := s.Tag(ctx, *img, ref(t, "tagged")); err != nil {
			t.Fatal(err)
		}
		if got := must(s.Image(ref(t, "tagged")))(t); got.Digest != want {
			t.Errorf("digest %q, want %q", got.Digest, want)
		}
		checkClean(t, s)
		must(s.AddBlob(ctx, []byte("layer")))(t)
	}
	img.Digest = digest.FromString("collected")
	if err := s.PutImage(ctx, *img); err != nil {
		t.Fatal(err)
	}
	checkClean(t, s)
}

func TestLookup(t *testing.T) {
	s := newTest(t)
	ctx := context.Background()
	debian := must(addImage(s, "debian:12", "debian"))(t)
	debian.Digest, debian.IndexDigest = must(s.AddBlob(ctx, []byte("{}")))(t), must(s.AddBlob(ctx, []byte("{} ")))(t)
	if err := s.PutImage(ctx, *debian); err != nil {
		t.Fatal(err)
	}
	if err := s.Tag(ctx, *debian, ref(t, "localhost/deb")); err != nil {
		t.Fatal(err)
	}
	alpine := must(addImage(s, "alpine", "alpine"))(t)
	must(addImage(s, "cafe", "cafe"))(t)
	hex := alpine.ID.Encoded()
	both := "debian:12 localhost/deb:latest"
	tests := []struct{ query, want string }{
		{"alpine", "alpine:latest"},
		{"library/alpine", "alpine:latest"},
		{"docker.io/alpine:latest", "alpine:latest"},
		{"index.docker.io/library/alpine", "alpine:latest"},
		{"registry-1.docker.io/library/alpine", "alpine:latest"},
		{"localhost%deb+latest", "localhost/deb:latest"},
		{hex, "alpine:latest"},
		{"sha256:" + hex, "alpine:latest"},
		{hex[:6], "alpine:latest"},
		{"sha256:" + hex[:4], "alpine:latest"},
		{debian.ID.Encoded()[:12], both},
		{debian.Digest.Encoded()[:12], both},
		{"debian@" + debian.Digest.String(), "debian:12"},
		{"debian:12@" + debian.IndexDigest.String(), "debian:12"},
		{"cafe", "cafe:latest"}, // a name before a prefix
	}
	for _, test := range tests {
		if got, err := s.Lookup(test.query); names(got) != test.want {
			t.Errorf("%s: %q, %v, want %q", test.query, names(got), err, test.want)
		}
	}
	missing := []struct{ query, near string }{
		{"debain:12", "debian:12"},
		{"debian", "debian:12"},
		{"alpine:3.20", "alpine:latest"},
		{"deb", "localhost/deb:latest"},
		{hex[:3], ""},
		{"alpine@" + debian.Digest.String(), ""},
		{"no/such/thing-at-all", ""},
		{"../../etc/passwd", ""},
		{"", ""},
	}
	for _, test := range missing {
		_, err := s.Lookup(test.query)
		var nf *NotFoundError
		if !errors.As(err, &nf) || !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %v, want a NotFoundError", test.query, err)
		} else if test.near != "" && (len(nf.Nearest) == 0 || nf.Nearest[0] != test.near || !strings.Contains(nf.Hint(), test.near)) {
			t.Errorf("%s: nearest %v, want %s", test.query, nf.Nearest, test.near)
		}
	}
}

func TestLookupAmbiguous(t *testing.T) {
	var all []Image
	for _, r := range []string{"a:1", "b:1", "b:2"} {
		id := digest.NewDigestFromEncoded(digest.SHA256, "abcd"+digest.FromString(r[:1]).Encoded()[4:])
		all = append(all, Image{Ref: r, ID: id})
	}
	_, err := lookup(all, "abcd")
	var amb *AmbiguousError
	if !errors.As(err, &amb) || !errors.Is(err, ErrAmbiguous) || names(amb.Candidates) != "a:1 b:1 b:2" {
		t.Errorf("got %v", err)
	}
	if got, err := lookup(all[1:], "abcd"); names(got) != "b:1 b:2" {
		t.Errorf("two names of one image: %q, %v", names(got), err)
	}
}

func TestDeleteAndUndelete(t *testing.T) {
	s := newTest(t)
	ctx := context.Background()
	for _, r := range []string{"app", "app:1", "app:2", "x/app:1", "app2", "host:5000/app:1"} {
		must(addImage(s, r, r))(t)
	}
	tests := []struct {
		globs              []string
		deleted, unmatched string
	}{
		{[]string{"nothing", "app:3"}, "", "nothing app:3"},
		{[]string{"app"}, "app:latest", ""}, // not its other tags
		{[]string{"app:?", "app:1", "zzz*"}, "app:1 app:2", "zzz*"},
		{[]string{"*app*:1"}, "host:5000/app:1 x/app:1", ""},
		{[]string{"app?"}, "app2:latest", ""},
	}
	for _, test := range tests {
		deleted, unmatched, err := s.Delete(ctx, test.globs...)
		if err != nil || names(deleted) != test.deleted || strings.Join(unmatched, " ") != test.unmatched {
			t.Errorf("%v: deleted %q, unmatched %q, %v", test.globs, names(deleted), unmatched, err)
		}
		checkClean(t, s)
	}
	if _, _, err := s.Delete(ctx, "[a"); err == nil {
		t.Error("an open bracket is accepted")
	}
	if got := must(s.Images())(t); len(got) != 0 {
		t.Errorf("left: %s", names(got))
	}
	if got := names(must(s.Deleted())(t)); !strings.Contains(got, "x/app:1") {
		t.Errorf("to undelete: %s", got)
	}
	_, err := s.Lookup("x/app:1")
	var nf *NotFoundError
	if !errors.As(err, &nf) || !nf.Deleted || !strings.Contains(nf.Hint(), "undelete") {
		t.Errorf("lookup of a deleted image: %v", err)
	}
	if _, err := s.Undelete(ctx, ref(t, "x/app:1")); err != nil {
		t.Error(err)
	}
	if got := must(s.Lookup("x/app:1"))(t); len(got) != 1 {
		t.Error("not back")
	}
	if _, err := s.Undelete(ctx, ref(t, "x/app:1")); !errors.Is(err, ErrExists) {
		t.Errorf("twice: %v", err)
	}
	must(addImage(s, "app", "new"))(t)
	if _, err := s.Undelete(ctx, ref(t, "app")); !errors.Is(err, ErrExists) {
		t.Errorf("over a new image: %v", err)
	}
	checkClean(t, s)
}

// TestDurability plays crashes of the machine by changing the boot in records.
func TestDurability(t *testing.T) {
	s := newTest(t)
	ctx := context.Background()
	reboot := func(s *Store) *Store {
		after := self()
		after.boot = "00000000"
		return openAs(t, s.Dir(), after)
	}
	must(addImage(s, "early", "early"))(t)
	tree := must(addTree(s, NewTreeID(), "t"))(t)
	if err := s.PutState(ctx, State{Key: "0123456789", Chain: []TreeID{tree.ID}}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.GetState("0123456789"); err != nil {
		t.Errorf("before the crash: %v", err)
	}
	crashed := reboot(s)
	if _, err := crashed.Lookup("early"); !errors.Is(err, ErrNotDurable) {
		t.Errorf("an image never written out: %v, want ErrNotDurable", err)
	}
	if got := must(crashed.Images())(t); len(got) != 0 {
		t.Errorf("listed: %s", names(got))
	}
	if _, err := crashed.GetState("0123456789"); !errors.Is(err, ErrNotFound) {
		t.Errorf("a state never written out: %v", err)
	}
	if err := crashed.Pin(ctx, tree.ID); !errors.Is(err, ErrNotFound) {
		t.Errorf("a tree never written out: %v", err)
	}

	if err := s.Sync(ctx); err != nil {
		t.Fatal(err)
	}
	must(addImage(s, "early2", "early"))(t) // nothing to sync: durable at once
	crashed = reboot(s)
	for _, r := range []string{"early", "early2"} {
		if _, err := crashed.Lookup(r); err != nil {
			t.Errorf("after Sync: %v", err)
		}
	}
	if _, err := crashed.GetState("0123456789"); err != nil {
		t.Errorf("after Sync: %v", err)
	}
	if err := crashed.Pin(ctx, tree.ID); err != nil {
		t.Errorf("after Sync: %v", err)
	}
}

func TestUntrustedTreeIsReplaced(t *testing.T) {
	s := newTest(t)
	id := BaseID(nil, "replaced")
	must(addTree(s, id, "old"))(t)
	after := self()
	after.boot = "00000000"
	crashed := openAs(t, s.Dir(), after)
	must(addTree(crashed, id, "new"))(t)
	if b := must(os.ReadFile(s.TreePath(id) + "/file"))(t); string(b) != "new" {
		t.Errorf("the tree holds %q", b)
	}
	must(addTree(crashed, id, "newer"))(t)
	if b := must(os.ReadFile(s.TreePath(id) + "/file"))(t); string(b) != "new" {
		t.Errorf("a sound tree was replaced by %q", b)
	}
}

func TestTrustInOtherMachines(t *testing.T) {
	s := newTest(t)
	far := self()
	far.machine, far.boot = "11111111", "22222222"
	other := openAs(t, s.Dir(), far)
	tree := must(addTree(other, NewTreeID(), "x"))(t)
	if _, err := s.Tree(tree.ID); err != nil {
		t.Errorf("of a machine that is up: %v", err)
	}
	old := self()
	past := must(os.Stat(other.ses.dir))(t).ModTime().Add(-2 * liveAge)
	if err := os.Chtimes(other.ses.dir, past, past); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Tree(tree.ID); !errors.Is(err, ErrNotFound) {
		t.Errorf("of a machine without a sign of life: %v", err)
	}
	if s.lost(false, far.bootID()) || !s.lost(false, old.machine+"/00000000") || s.lost(true, old.machine+"/00000000") {
		t.Error("lost is wrong")
	}
}

func TestDamagedImageRecord(t *testing.T) {
	s := newTest(t)
	must(addImage(s, "good", "x"))(t)
	good := must(os.ReadFile(s.imagePath(ref(t, "good"))))(t)
	for name, content := range map[string]string{
		"empty": "", "cut": string(good[:len(good)/2]), "other": string(good), "array": "[]",
		"escape": strings.Replace(string(good), `"chain":["`, `"chain":["../../..`, 1),
	} {
		r := ref(t, name)
		if err := os.WriteFile(s.imagePath(r), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Image(r); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v, want ErrCorrupt", name, err)
		}
	}
	if got := names(must(s.Images())(t)); got != "good:latest" {
		t.Errorf("listed: %s", got)
	}
	if p := must(s.Check(context.Background(), CheckOptions{Quick: true}))(t); len(p) < 5 {
		t.Errorf("check found only %v", p)
	}
	must(addImage(s, "cut", "x"))(t) // is replaced like any other
	if _, err := s.Image(ref(t, "cut")); err != nil {
		t.Error(err)
	}
}

func TestDistance(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"a", "", 1}, {"debian", "debain", 2}, {"abc", "abd", 1}, {"abc", "xabc", 1}} {
		if got := distance(test.a, test.b); got != test.want || distance(test.b, test.a) != got {
			t.Errorf("%q, %q: %d, want %d", test.a, test.b, got, test.want)
		}
	}
}

func TestFileNameIsUnique(t *testing.T) {
	a, b := strings.Repeat("a", 230), strings.Repeat("a", 229)+"b"
	seen := map[string]bool{}
	for _, r := range []string{a, b, a + ":x", "a/b", "a:b", "x.org/a/b"} {
		name := fileName(must(image.ParseReference(r))(t))
		if seen[name] || len(name) > maxName || strings.Contains(name, "/") {
			t.Errorf("%s: %q", r, name)
		}
		seen[name] = true
	}
}
