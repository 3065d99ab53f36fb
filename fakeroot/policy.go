package fakeroot

import "strings"

// Who is watched. Watching costs some 15 µs for each stat(2), so that programs which
// look at thousands of files and do not care for owners are not: compilers,
// interpreters, and dpkg itself, which takes owners from its packages. In
// doubt a program is watched while something is being installed, where maintainer
// scripts check owners, and for a Dockerfile's USER, whose programs shall find
// their own files their own; and not watched otherwise.

// installers start an installation: they and all they start count as such.
const installers = " apt apt-get aptitude apt.systemd.daily dpkg dpkg-reconfigure dpkg-preconfigure" +
	" rpm dnf dnf5 dnf-3 microdnf yum zypper apk pacman emerge opkg xbps-install" +
	" adduser deluser addgroup delgroup "

// compilers are the programs of a compilation, which are not watched even in an
// installation: they look at many files, and not whose they are. A name that ends
// in "*" is a prefix.
const compilers = " cc gcc* g++* c++ c99 cc1 cc1plus collect2 f951 lto1 lto-wrapper as ld ld.* ar ranlib nm strip" +
	" objcopy make gmake cmake ninja ccache clang* rustc cargo go sed grep egrep fgrep rm cat head tail tr sort uniq cut wc" +
	" which basename dirname expr true false sleep date uname "

// helpers are further programs that compilations run often. They are watched in an
// installation, and not for a Dockerfile's USER, whose files need no attention.
const helpers = " sh bash dash ash ksh mksh env echo printf pwd test [ touch mkdir ln tee cmp diff comm awk gawk mawk nproc" +
	" libtool pkg-config pkgconf m4 bison flex autoconf autom4te automake aclocal ctest meson configure config.status lld* javac "

// careless are further programs that are not watched in an installation.
const careless = " dpkg dpkg-deb dpkg-split dpkg-query dpkg-trigger dpkg-divert apt apt-get apt-cache apt-config" +
	" apt-extracttemplates apt-key http https gpgv store" +
	" python3* python2* python" +
	" ldconfig ldconfig.real update-alternatives py3compile py3clean" +
	" dpkg-preconfigure dpkg-maintscript-helper dpkg-statoverride update-rc.d invoke-rc.d runlevel systemctl update-xmlcatalog" +
	" pam_getenv ln readlink mkdir touch" +
	" adduser deluser addgroup delgroup file getent helpztags" +
	" mandb deb-systemd-helper deb-systemd-invoke frontend debconf-escape xz gzip zstd bzip2" +
	" update-mime-database update-desktop-database gtk-update-icon-cache" +
	" fc-cache glib-compile-schemas install-info rehash c_rehash openssl update-ca-certificates "

// makers are programs that run as another user than they were started by, and do
// not care for owners: what they make is recorded, what they see is not answered.
// They must have no threads, whose stacks would be as large as the limit that
// tells them.
const makers = " mandb "

// careful are programs that are watched always: those that show owners, copy
// them, or check them.
const careful = " useradd usermod userdel groupadd groupmod groupdel gpasswd chpasswd chgpasswd passwd chage chsh chfn newusers pwconv pwunconv" +
	" grpconv grpunconv vipw vigr login su sudo visudo runuser setpriv gosu su-exec" +
	" doas chroot install cp mv stat ls dir vdir find tar bsdtar cpio pax rsync unzip rpm rpm2cpio" +
	" getfacl setfacl getfattr setfattr getcap setcap systemd-* journalctl bootctl ssh-keygen sshd ssh" +
	" initdb pg_* postgres mariadbd mysqld mariadb-install-db namei crontab cron sendmail" +
	" logrotate git busybox mksquashfs mkisofs genisoimage fakeroot umoci buildah skopeo podman "

// listed looks a name up in one of the lists.
func listed(list, name string) bool {
	if name == "" || strings.ContainsAny(name, " *") {
		return false
	}
	if strings.Contains(list, " "+name+" ") {
		return true
	}
	for rest := list; ; {
		i := strings.Index(rest, "* ")
		if i < 0 {
			return false
		}
		prefix := rest[strings.LastIndexByte(rest[:i], ' ')+1 : i]
		if strings.HasPrefix(name, prefix) {
			return true
		}
		rest = rest[i+1:]
	}
}

// installs reports whether a program, by the names of its file and of its
// interpreter, is a package manager.
func installs(names []string) bool {
	return listed(installers, names[0])
}

// watch is how much of what a program does is looked at.
type watch int

const (
	watchNone  watch = iota
	watchMakes       // what it makes is recorded
	watchSees        // also, what it sees is answered
)

// watch decides about a program that a process executes; maker is the user
// whose files need not be recorded one by one.
func (id *identity) watch(names []string, maker *Record) watch {
	if !id.plainly(maker) {
		if id.installing && listed(makers, names[0]) {
			return watchMakes
		}
		return watchSees
	}
	for _, name := range names {
		if listed(careful, name) {
			return watchSees
		}
	}
	also := careless
	if !maker.IsZero() {
		also = helpers
	} else if !id.installing {
		return watchNone
	}
	for _, name := range names {
		if listed(compilers, name) || listed(also, name) {
			return watchNone
		}
	}
	return watchSees
}
