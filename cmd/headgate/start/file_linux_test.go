package start

import (
	"bytes"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestClean(t *testing.T) {
	const smaps = `00400000-00500000 r-xp 00000000 08:01 7   /bin/program
Rss: 900 kB
Anonymous: 0 kB
VmFlags: rd ex
00500000-00600000 r--p 00100000 08:01 7   /bin/program
Anonymous: 0 kB
00600000-00601000 r--p 00200000 08:01 7   /bin/program
Anonymous: 4 kB
00601000-00700000 rw-p 00201000 08:01 7   /bin/program
Anonymous: 0 kB
00700000-00800000 r-xp 00000000 08:01 8   /lib/other
Anonymous: 0 kB
00800000-00900000 r--p 00000000 00:00 0
Anonymous: 0 kB
00900000-00a00000 r-xp 00000000 08:01 7   /bin/program (deleted)
Anonymous: 0 kB
zz-00a00000 r-xp 00000000 08:01 7   /bin/program
Anonymous: 0 kB
`
	want := []mapping{{0x400000, 0x500000}, {0x500000, 0x600000}}
	if got := clean(strings.NewReader(smaps), "/bin/program"); !slices.Equal(got, want) {
		t.Errorf("%x, want %x", got, want)
	}
}

// fileKB is the resident memory of files.
func fileKB(t *testing.T) int {
	t.Helper()
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Skip(err)
	}
	_, rest, ok := bytes.Cut(b, []byte("RssFile:"))
	if !ok {
		t.Skip("the kernel does not tell")
	}
	n, err := strconv.Atoi(string(bytes.Fields(rest)[0]))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestForgetFile(t *testing.T) {
	before := fileKB(t)
	forgetFile()
	if after := fileKB(t); after >= before {
		t.Errorf("%d kB of files, %d before", after, before)
	}
}
