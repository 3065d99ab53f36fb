//go:build !amd64

package fakeroot

// disturb changes registers where somebody has written how.
func disturb(int) {}
