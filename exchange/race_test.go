package exchange

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

	"virga/image"
	"virga/registry"
	"virga/storage"
)

// TestPullsAtOnce: pulls of one image, and of images that share a layer, by
// two users of one storage directory at once, give each its whole tree.
func TestPullsAtOnce(t *testing.T) {
	s := newSite(t)
	client, err := registry.New(registry.Options{PlainHTTP: true, Retry: registry.Retry{Attempts: 1}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	dir := filepath.Join(t.TempDir(), "shared")
	var users []*Exchange
	for range 2 {
		store, err := storage.Open(t.Context(), dir, storage.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { store.Close() })
		users = append(users, New(store, client, Options{}))
	}
	var entries []string
	for i := range 200 {
		entries = append(entries, fmt.Sprintf("f%d", i), strings.Repeat("x", i*20))
	}
	shared := tarLayer(t, entries...)
	var refs []image.Reference
	for i := range 2 {
		ref, _ := s.publish(t, fmt.Sprintf("i%d:1", i), shared, tarLayer(t, "top", fmt.Sprint(i), ".wh.f0", ""))
		refs = append(refs, ref)
	}
	var g errgroup.Group
	for i := range 8 {
		x, which := users[i%2], i/2%2
		g.Go(func() error {
			img, err := x.Pull(t.Context(), refs[which], s.want(), 0)
			if err != nil {
				return err
			}
			tree := x.store.TreePath(img.Chain[0])
			if read(t, tree+"/top") != fmt.Sprint(which) || len(read(t, tree+"/f199")) != 199*20 || read(t, tree+"/f0") != "" {
				return fmt.Errorf("image %d: its tree is not whole", which)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	trees, err := filepath.Glob(filepath.Join(dir, "trees", "*"))
	if err != nil || len(trees) != 2 {
		t.Errorf("trees are %q (%v), want one for each image", trees, err)
	}
	if problems, err := users[0].store.Check(t.Context(), storage.CheckOptions{}); err != nil || len(problems) > 0 {
		t.Errorf("storage: %v, %v", problems, err)
	}
}
