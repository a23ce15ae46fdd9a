//go:build kernel

package kernel

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// memoryLimit is that of an injected agent, in bytes.
const memoryLimit = 128 << 20

// memoryGroup is a control group with a memory limit.
type memoryGroup struct {
	folder string
	peak   string // the file that has the most that it needed
}

// limitMemory puts a process in a control group with the memory limit of an
// injected agent, as kubelet does. Version 2 of control groups counts what
// sockets hold too. The caller removes the folder when the process has ended. It
// returns nil where this machine's groups can't be changed.
func limitMemory(t *testing.T, pid int) *memoryGroup {
	t.Helper()
	for _, version := range []struct{ root, limit, peak string }{
		{"/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.max_usage_in_bytes"},
		{"/sys/fs/cgroup", "memory.max", "memory.peak"},
	} {
		folder := filepath.Join(version.root, "tidelay-"+strconv.Itoa(os.Getpid()))
		if os.Mkdir(folder, 0o755) != nil {
			continue
		}
		if os.WriteFile(filepath.Join(folder, version.limit), []byte(strconv.Itoa(memoryLimit)), 0) != nil {
			_ = os.Remove(folder)
			continue
		}
		if err := os.WriteFile(filepath.Join(folder, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0); err != nil {
			t.Fatal(err)
		}
		return &memoryGroup{folder, version.peak}
	}
	return nil
}

// most returns the most that the group needed, in bytes, 0 where the kernel does
// not say.
func (g *memoryGroup) most() int {
	content, _ := os.ReadFile(filepath.Join(g.folder, g.peak))
	most, _ := strconv.Atoi(strings.TrimSpace(string(content)))
	return most
}
