package control

import (
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tidelay/tidelay/pkg/fault"
)

// now reads both clocks. If the kernel has no CLOCK_BOOTTIME (before 2.6.39), the
// time of day decides alone.
func now() fault.Moment {
	m := fault.Moment{Wall: time.Now().Round(0)}
	var since unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &since) == nil {
		m.Boot = time.Duration(since.Nano())
	}
	return m
}

// bootID names the kernel's present boot, to which times since it started belong.
// It is empty if the kernel does not tell.
func bootID() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(id))
}
