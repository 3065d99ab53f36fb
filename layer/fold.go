package layer

import (
	"errors"
	"slices"
	"strings"
	"unicode"
)

// errOneName says that the file system takes two names of an image for one.
var errOneName = errors.New("the file system has a file of this name in other letters; it must tell upper case from lower case")

// sameName returns an error if what is at path has another name: the file
// system ignores the case of letters (ext4's casefold, FAT, exFAT, some network
// file systems), and the image has both names. To replace the one by the other
// would be silent damage. The directory is read only where a file of the name
// in other letters seems to be there, too.
func (t *tree) sameName(dirfd int, base, path string) error {
	other := strings.Map(otherCase, base)
	if other == base {
		return nil
	}
	if _, err := statAt(dirfd, other); err != nil {
		return nil // as it should be
	}
	names, err := namesIn(dirfd, ".")
	if err != nil {
		return failed("list directory", path, err)
	}
	if slices.Contains(names, base) {
		return nil
	}
	return failed("create", path, errOneName)
}

func otherCase(r rune) rune {
	if unicode.IsUpper(r) {
		return unicode.ToLower(r)
	}
	return unicode.ToUpper(r)
}
