// Package image holds the values that every other package speaks about:
// references, platforms, and the configuration of an image. It does no I/O.
//
//	ref, err := image.ParseReference("docker.io/library/debian:bookworm")
//	ref.String()   // debian:bookworm
//	ref.FileName() // debian+bookworm
package image
