#include <stdio.h>
#include <stdlib.h>
#include <sys/utsname.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    struct utsname u;
    const char *greeting = getenv("GREETING");

    uname(&u);
    printf("%s, %s! I am uid %d on %s %s.\n", greeting ? greeting : "Hi", argc > 1 ? argv[1] : "nobody", (int)getuid(),
           u.sysname, u.machine);
    return 0;
}
