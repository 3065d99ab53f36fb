package storage

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"virga/image"
)

// TestStress lets processes do random operations on one storage directory
// while they are killed at random moments, and then looks at what is left.
func TestStress(t *testing.T) {
	const processes, wanted = 4, 400
	dir := t.TempDir() + "/s"
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	var mu sync.Mutex
	kept := map[string]string{} // images that a process said are finished, and that nobody deletes
	operations, kills := 0, 0
	var wg sync.WaitGroup
	for p := range processes {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(seed, uint64(p)))
			for life := 0; ; life++ {
				mu.Lock()
				enough := operations >= wanted
				mu.Unlock()
				if enough {
					return
				}
				cmd := child(t, "stress", dir, fmt.Sprint(random.Uint64()), fmt.Sprintf("%d-%d", p, life))
				out, err := cmd.StdoutPipe()
				if err == nil {
					err = cmd.Start()
				}
				if err != nil {
					t.Error(err)
					return
				}
				killer := time.AfterFunc(time.Duration(20+random.IntN(400))*time.Millisecond, func() { cmd.Process.Kill() })
				for sc := bufio.NewScanner(out); sc.Scan(); {
					mu.Lock()
					operations++
					if f := strings.Fields(sc.Text()); len(f) == 3 && f[0] == "kept" {
						kept[f[1]] = f[2]
					}
					mu.Unlock()
				}
				err = cmd.Wait()
				if killer.Stop() && err != nil {
					t.Errorf("process %d-%d: %v", p, life, err)
					return
				}
				mu.Lock()
				kills++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	t.Logf("%d operations, %d processes killed, %d images to be kept", operations, kills, len(kept))
	if kills < processes || len(kept) == 0 {
		t.Error("nothing was tried")
	}

	if err := openTest(t, dir).Close(); err != nil { // sweeps
		t.Fatal(err)
	}
	s := openTest(t, dir)
	for _, p := range must(s.Check(context.Background(), CheckOptions{}))(t) {
		// Of what is derived from the records, the last step may be missing.
		if !strings.HasPrefix(p.Object, "link ") && !strings.HasPrefix(p.Object, "OCI image") {
			t.Errorf("before Collect: %s", p)
		}
	}
	if _, err := s.Collect(context.Background(), Policy{}); err != nil {
		t.Fatal(err)
	}
	checkClean(t, s)
	for name, content := range kept {
		img, err := s.Lookup(name)
		if err != nil {
			t.Error(err)
			continue
		}
		if b, err := os.ReadFile(s.TreePath(img[0].Chain[0]) + "/file"); err != nil || string(b) != content {
			t.Errorf("image %s holds %q, %v, want %q", name, b, err, content)
		}
	}
	if left := must(os.ReadDir(s.path(tmpDir)))(t); len(left) > 1 { // s itself
		t.Errorf("left in tmp: %s", inTmp(t, s))
	}
}

// stressRole does random operations until it is killed, and prints a line
// after each: "kept REFERENCE CONTENT" promises an image.
func stressRole(args []string) error {
	seed, err := strconv.ParseUint(args[1], 10, 64)
	if err != nil {
		return err
	}
	w := &stressor{random: rand.New(rand.NewPCG(seed, 0)), me: args[2]}
	for round := 0; ; round++ {
		if w.s, err = Open(context.Background(), args[0], Options{}); err != nil {
			return err
		}
		for range 1 + w.random.IntN(8) {
			if err := w.step(); err != nil {
				return err
			}
		}
		if err := w.s.Close(); err != nil {
			return err
		}
	}
}

type stressor struct {
	s      *Store
	random *rand.Rand
	me     string
	n      int
}

func (w *stressor) step() error {
	ctx := context.Background()
	steps := []func(context.Context) error{w.pull, w.pull, w.keep, w.build, w.build, w.use, w.use, w.tag, w.remove, w.undelete, w.collect, w.list}
	i := w.random.IntN(len(steps))
	if err := steps[i](ctx); err != nil {
		return fmt.Errorf("step %d: %w", i, err)
	}
	fmt.Println("done")
	return nil
}

// name is one of a few, so that processes meet.
func (w *stressor) name() string { return fmt.Sprintf("stress/i%d", w.random.IntN(5)) }

func (w *stressor) key() string { return fmt.Sprintf("stress-key-%02d", w.random.IntN(20)) }

// pull makes a base only once, like a pull.
func (w *stressor) pull(ctx context.Context) error {
	content := fmt.Sprintf("base %d", w.random.IntN(4))
	unlock, err := w.s.KeyLock(ctx, content)
	if err != nil {
		return err
	}
	defer unlock()
	_, err = addImage(w.s, w.name(), content)
	return err
}

func (w *stressor) keep(ctx context.Context) error {
	w.n++
	name, content := fmt.Sprintf("keep/k%s-%d:latest", w.me, w.n), fmt.Sprintf("kept-%s-%d", w.me, w.n)
	if _, err := addImage(w.s, name, content); err != nil {
		return err
	}
	fmt.Println("kept", name, content)
	return nil
}

// held looks an image up and pins it; nil when it is gone.
func (w *stressor) held(ctx context.Context) (*Image, error) {
	img, err := w.s.Lookup(w.name())
	if err == nil {
		err = errors.Join(w.s.Pin(ctx, img[0].Chain...), w.s.PinBlobs(ctx, img[0].ID))
	}
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &img[0], nil
}

// use reads all of an image that it has pinned.
func (w *stressor) use(ctx context.Context) error {
	img, err := w.held(ctx)
	if img == nil {
		return err
	}
	for _, id := range img.Chain {
		_, err1 := os.ReadFile(w.s.TreePath(id) + "/file")
		_, err2 := w.s.Owners(id)
		_, err3 := w.s.Tree(id)
		if err := errors.Join(err1, err2, err3); err != nil {
			return fmt.Errorf("a pinned tree: %w", err)
		}
	}
	_, err = w.s.ReadBlob(img.ID)
	return err
}

// build adds a tree to an image, or finds the result in the cache.
func (w *stressor) build(ctx context.Context) error {
	img, err := w.held(ctx)
	if img == nil || len(img.Chain) > 6 {
		return err
	}
	key := w.key()
	st, err := w.s.GetState(key)
	if err == nil {
		err = w.s.Pin(ctx, st.Chain...)
	}
	if errors.Is(err, ErrNotFound) {
		tree, err := addTree(w.s, NewTreeID(), key)
		if err != nil {
			return err
		}
		st = &State{Key: key, Chain: append(img.Chain[:len(img.Chain):len(img.Chain)], tree.ID)}
		if err := w.s.PutState(ctx, *st); err != nil {
			return err
		}
		if w.random.IntN(2) == 0 {
			l := Layer{DiffID: digest.FromString(key)}
			if l.Digest, err = w.s.AddBlob(ctx, []byte(key)); err != nil {
				return err
			}
			if err := w.s.SetLayer(ctx, tree.ID, l); err != nil {
				return err
			}
		}
	} else if err != nil {
		return err
	}
	if w.random.IntN(4) == 0 {
		if err := w.s.Sync(ctx); err != nil {
			return err
		}
	}
	img.Chain, img.Ref = st.Chain, w.name()
	return w.s.PutImage(ctx, *img)
}

func (w *stressor) tag(ctx context.Context) error {
	img, err := w.s.Lookup(w.name())
	if err == nil {
		var dst image.Reference
		if dst, err = image.ParseReference(w.name()); err == nil {
			err = w.s.Tag(ctx, img[0], dst)
		}
	}
	if errors.Is(err, ErrNotFound) { // gone meanwhile, or never there
		return nil
	}
	return err
}

func (w *stressor) remove(ctx context.Context) error {
	_, _, err := w.s.Delete(ctx, w.name(), "stress/i[34]")
	return err
}

func (w *stressor) undelete(ctx context.Context) error {
	r, err := image.ParseReference(w.name())
	if err == nil {
		_, err = w.s.Undelete(ctx, r)
	}
	if errors.Is(err, ErrNotFound) || errors.Is(err, ErrExists) {
		return nil
	}
	return err
}

func (w *stressor) collect(ctx context.Context) error {
	policies := []Policy{{}, {All: true}, {ResetCache: true}, {KeepStorage: 100 << 10}, {DryRun: true}, {Until: time.Now().Add(-50 * time.Millisecond)}}
	_, err := w.s.Collect(ctx, policies[w.random.IntN(len(policies))])
	return err
}

func (w *stressor) list(ctx context.Context) error {
	_, err1 := w.s.Images()
	_, err2 := w.s.States(ctx)
	_, err3 := w.s.Du(ctx)
	return errors.Join(err1, err2, err3)
}
