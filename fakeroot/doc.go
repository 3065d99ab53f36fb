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
//	sup, err := fakeroot.New(fakeroot.Options{Mode: mode, Level: level, Records: records, Proc: proc, Upper: upper})
//	err = sup.Serve(listener)     // on a locked thread inside the container
//	table, err = records.Collect(upper, root, table)
//
// # What is emulated
//
// Owners and groups (chown family, 16-bit and 32-bit), device nodes, POSIX
// access lists that name other ids, trusted.* and security.* attributes (file
// capabilities are real), the credentials of processes (set*id, setgroups,
// capset and what reads them, inherited over fork and exec, setuid and setgid
// programs, SO_PEERCRED), the owners of files that other users than root make
// (open, mkdir, mknod, symlink, bind), and the inheritance of groups in setgid
// directories. fsync(2) and its family do nothing. io_uring does not exist.
//
// # What is not
//
// Permissions are not checked: a process that believes to be another user may
// do what the builder may. /proc shows everything as root's. Which programs see
// recorded owners is a matter of policy (policy.go): all while packages are
// installed, except those that would only lose time; otherwise those that show,
// copy or check owners, and all that are not root. [ModeConsistent] shows them to
// every one. A program that is not root when it is executed unwatched (its own
// finite stack limit) makes files of root's. Processes in user namespaces of
// their own are left to the kernel. Default access lists that name other ids are
// kept and not inherited. A second listener for user notification is refused by
// the kernel, so that builders that emulate in the same way, run inside RUN,
// can only lie.
//
// Linux needs 5.5 for more than the lie, 5.6 for sockets, 5.9 for the owners of
// what other users make with O_EXCL, 5.19 against interrupted calls, and 6.6 for
// half the time per call.
//
// Nothing here is a security boundary: filter and supervisor give no right that
// the build does not have. The package neither prints nor reads the
// environment, and does not start processes.
package fakeroot
