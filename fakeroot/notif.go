package fakeroot

// maxNotif is the size of the buffers for struct seccomp_notif and its
// response; the kernel's are 80 and 24 bytes and may grow.
const maxNotif = 256
