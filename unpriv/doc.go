// Package unpriv is where virga meets the kernel: user and mount namespaces,
// overlay mounts, and the start of programs inside a root file system.
//
// A command that needs namespaces for long calls [Enter] first. It runs the
// same command line again in a new user namespace, in which the caller's
// effective uid and gid are the only ids and are called 0. No setuid program, no
// capability and no /etc/subuid is involved. Inside, [MountOverlay] stacks trees,
// and [Run] executes one RUN in mount and PID namespaces of its own. As real root
// the same calls work without a user namespace ([Chroot]).
//
//	if done, status, err := unpriv.Enter(ctx, unpriv.Entry{}); done || err != nil { ... }
//	err := unpriv.MountOverlay(dir, unpriv.Overlay{Lower: lowers, Upper: upper, Work: work})
//	status, err := unpriv.Run(ctx, unpriv.Container{Root: dir, Process: process, Mounts: unpriv.BuildMounts()})
//
// [RunImage] runs a program of an image, and is called outside.
//
// # How a container is made
//
// Neither does a fork of a Go program allow more than system calls, nor can a
// program with threads make a user namespace. So everything that happens
// between clone and exec (maps, mounts, the change of root, capabilities, the
// seccomp filter) is first written down as a list of system calls (script.go,
// plan.go, mounts.go), which a new process performs (fork.go) while the parent
// waits at a socket (launch.go). There is one way for RUN and for run, no thread of
// ours ever is in a container but the supervisor's, and a start costs about a
// millisecond.
package unpriv
