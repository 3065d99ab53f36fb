// Package unpriv is where virga meets the kernel: user and mount namespaces,
// overlay mounts, and the start of programs inside a root file system.
//
// A command that needs namespaces calls [Enter] first. It runs the same
// command line again in a new user namespace, in which the caller's effective
// uid and gid are the only ids and are called 0 (or, for run, what is asked
// for). No setuid program, no capability and no /etc/subuid is involved. Inside, [MountOverlay]
// stacks trees, [Run] executes one RUN in a mount and PID namespace of its own,
// and [Exec] replaces the process by a program of an image.
//
// As real root the same calls work without a user namespace ([Chroot]).
//
//	if done, status, err := unpriv.Enter(ctx, unpriv.Entry{}); done || err != nil { ... }
//	err := unpriv.MountOverlay(dir, unpriv.Overlay{Lower: lowers, Upper: upper, Work: work})
//	status, err := unpriv.Run(ctx, unpriv.Container{Root: dir, Process: process, Mounts: unpriv.BuildMounts()})
package unpriv
