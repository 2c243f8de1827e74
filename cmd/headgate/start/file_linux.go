package start

import (
	"bufio"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// forgetFile gives back the memory of the program's code and constants: what the
// packages that are linked touch when they initialise is most of the file, and little
// of it is needed again. What is, comes back from the file when it is touched.
func forgetFile() {
	exe, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return
	}
	f, err := os.Open("/proc/self/smaps")
	if err != nil {
		return
	}
	defer f.Close()
	for _, m := range clean(f, exe) {
		// A kernel that refuses leaves everything as it is.
		_, _, _ = syscall.Syscall(syscall.SYS_MADVISE, m.start, m.end-m.start, syscall.MADV_DONTNEED)
	}
}

// mapping is a range of addresses.
type mapping struct{ start, end uintptr }

// clean lists the mappings of the file exe that cannot be written and of which no
// page differs from the file: nothing is lost with those.
func clean(smaps io.Reader, exe string) []mapping {
	var out []mapping
	var m mapping
	ours := false
	for sc := bufio.NewScanner(smaps); sc.Scan(); {
		fs := strings.Fields(sc.Text())
		switch {
		case len(fs) < 2:
		case !strings.HasSuffix(fs[0], ":"): // start-end mode offset device inode path
			ours = false
			if len(fs) != 6 || fs[5] != exe || strings.Contains(fs[1], "w") {
				continue
			}
			lo, hi, _ := strings.Cut(fs[0], "-")
			start, err := strconv.ParseUint(lo, 16, strconv.IntSize)
			end, err2 := strconv.ParseUint(hi, 16, strconv.IntSize)
			m, ours = mapping{uintptr(start), uintptr(end)}, err == nil && err2 == nil && start < end
		case ours && fs[0] == "Anonymous:" && fs[1] == "0":
			out = append(out, m)
		}
	}
	return out
}
