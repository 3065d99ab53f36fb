package unpriv

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// MountImage mounts the trees of an image, top first, with changes going to
// memory, to be forgotten. It is called in the namespaces of Enter. The image is
// at root then, its own topmost directory, and upper has the changes.
func MountImage(lower []string) (root string, upper *os.File, err error) {
	root = lower[0]
	var st unix.Stat_t
	if err := unix.Stat(root, &st); err != nil {
		return "", nil, fmt.Errorf("open image: %w", err)
	}
	if err := unix.Mount("tmpfs", cover, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755"); err != nil {
		return "", nil, fmt.Errorf("mount a file system in memory: %w", err)
	}
	// What is mounted from it keeps it alive.
	defer unix.Unmount(cover, unix.MNT_DETACH)
	o := Overlay{Lower: lower, Upper: cover + "/upper", Work: cover + "/work"}
	for _, dir := range []string{o.Upper, o.Work} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return "", nil, err
		}
	}
	if err := unix.Chmod(o.Upper, st.Mode&0o7777); err != nil {
		return "", nil, err
	}
	if upper, err = os.Open(o.Upper); err != nil {
		return "", nil, err
	}
	if err := MountOverlay(root, o); err != nil {
		upper.Close()
		return "", nil, err
	}
	return root, upper, nil
}
