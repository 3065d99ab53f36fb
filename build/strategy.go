package build

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"virga/unpriv"
)

// strategy is whether overlay mounts can be written to below the storage
// directory: tried once and remembered in a note. What is remembered holds
// for one boot of one kernel, one file system and one kind of privilege, so
// storage that moves, or another machine that shares it, is tried anew.
type strategy struct {
	note     string // path
	identity string // what an answer holds for; "" if that cannot be told
}

const strategyNote = "overlay"

const (
	overlayYes = "overlay"
	overlayNo  = "plain"
)

// newStrategy describes the storage directory dir; real is the root chroot
// path.
func newStrategy(note, dir string, real bool) strategy {
	s := strategy{note: note}
	var fs unix.Statfs_t
	var st unix.Stat_t
	var uts unix.Utsname
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil || unix.Statfs(dir, &fs) != nil || unix.Stat(dir, &st) != nil || unix.Uname(&uts) != nil {
		return s
	}
	s.identity = fmt.Sprintf("boot %s kernel %s file system %x:%x device %x directory %d real %t",
		strings.TrimSpace(string(boot)), unix.ByteSliceToString(uts.Release[:]), fs.Type, fs.Fsid.Val, st.Dev, st.Ino, real)
	return s
}

// remembered is the answer that holds, or "".
func (s strategy) remembered() string {
	if s.identity == "" {
		return ""
	}
	b, err := os.ReadFile(s.note)
	if err != nil {
		return ""
	}
	answer, identity, _ := strings.Cut(strings.TrimSpace(string(b)), " ")
	if identity != s.identity || answer != overlayYes && answer != overlayNo {
		return ""
	}
	return answer
}

func (s strategy) remember(answer string) error {
	if s.identity == "" {
		return nil
	}
	f, err := os.CreateTemp(filepath.Dir(s.note), ".overlay")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, "%s %s\n", answer, s.identity)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), s.note)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

// overlayWorks finds out whether the work directory can hold the upper
// directories of overlay mounts, by using one unless that was done before.
func (b *builder) overlayWorks(ctx context.Context) bool {
	b.probeOnce.Do(func() {
		s := newStrategy(b.store.NotePath(strategyNote), b.store.Dir(), b.Chroot)
		answer := s.remembered()
		if answer == "" {
			answer = overlayYes
			err := unpriv.ProbeOverlay(ctx, b.work.Path())
			if ctx.Err() != nil {
				return
			}
			if err != nil {
				answer = overlayNo
				b.log.Debug("overlay", "cause", err)
			}
			if err := s.remember(answer); err != nil {
				b.log.Debug("remember that", "cause", err)
			}
		}
		if b.overlayOK = answer == overlayYes; !b.overlayOK {
			b.log.Info("the storage directory cannot hold overlay mounts: files are copied, which takes longer")
		}
	})
	return b.overlayOK
}
