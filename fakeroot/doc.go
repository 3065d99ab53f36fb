// Package fakeroot lets a process without privilege believe that it is root,
// and remembers what it did.
//
// In a user namespace with one uid and one gid, chown(2), mknod(2) of devices,
// setuid(2) and the like fail. A seccomp filter ([Program]) answers such calls
// instead of the kernel: by a bare lie, or by asking a [Supervisor], which
// keeps [Records] of the owners, devices and attributes that the disk cannot
// hold and tells them to the programs that look. What was recorded ends in a
// [Table] beside the tree, from which a layer is packed with its true owners.
//
//	level, _ := fakeroot.Probe()
//	prog, err := fakeroot.Program(fakeroot.ProgramOptions{Mode: mode, Level: level})
//	...                           // install prog in a child, keep its listener
//	records.Load(root, table)     // owners of the image so far
//	sup, err := fakeroot.New(fakeroot.Options{Mode: mode, Level: level, Records: records, Proc: proc})
//	err = sup.Serve(listener)     // on a locked thread inside the container
//	table, err = records.Collect(upper, root, table)
//
// Nothing here is a security boundary: filter and supervisor give no right that
// the build does not have. The package neither prints nor reads the
// environment, and does not start processes.
package fakeroot
