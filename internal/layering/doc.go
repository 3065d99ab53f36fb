// Package layering holds the test that the packages import each other
// downwards only, and that a dependency is used where it is at home. The
// arrows are explained in docs/architecture.md, the homes in
// docs/dependencies.md.
package layering
