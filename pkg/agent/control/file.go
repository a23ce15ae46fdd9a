package control

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// pageSize is what the state file's length is a multiple of, in bytes. The kernel
// copies one page of it as a whole, whenever a process is killed: it looks for
// signals between pages (generic_perform_write in mm/filemap.c).
const pageSize = 4096

// padded fills up the last page with blanks, which JSON ignores.
func padded(content []byte) []byte {
	pages := (len(content) + pageSize - 1) / pageSize
	filled := slices.Grow(content, pages*pageSize-len(content))
	for len(filled) < pages*pageSize {
		filled = append(filled, ' ')
	}
	return filled
}

// writeFile makes this the content of a file, so that a crash of the process
// leaves the old content or the new. One page is written over one page, which
// takes a tenth of the time of a new file, and no room on the disk.
//
// It does not flush to the disk (fsync), which would be slower than all the rest
// of a change. A crash of the node ends the faults in its kernel too, and the
// next agent sets aside a file that was only half written.
func writeFile(path string, content []byte) error {
	if len(content) == pageSize && overwriteFile(path, content, len(content)) == nil {
		return nil
	}
	return replaceFile(path, content)
}

// shrinkFile makes this the content of a file that has at least as much, where
// the disk has no room for another file. A crash in between damages the file.
func shrinkFile(path string, content []byte) error {
	return overwriteFile(path, content, maxStateFile)
}

// overwriteFile writes to a regular file that has the content's length at least,
// and longest bytes at most.
func overwriteFile(path string, content []byte, longest int) error {
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CLOEXEC|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return os.NewSyscallError("open", err)
	}
	err = overwrite(fd, content, longest)
	return errors.Join(err, os.NewSyscallError("close", unix.Close(fd)))
}

func overwrite(fd int, content []byte, longest int) error {
	var info unix.Stat_t
	if err := unix.Fstat(fd, &info); err != nil {
		return os.NewSyscallError("fstat", err)
	}
	if info.Mode&unix.S_IFMT != unix.S_IFREG || info.Size < int64(len(content)) || info.Size > int64(longest) {
		return fmt.Errorf("the file has %d bytes, want a regular file of %d to %d", info.Size, len(content), longest)
	}
	if n, err := unix.Pwrite(fd, content, 0); err != nil || n < len(content) {
		return errors.Join(os.NewSyscallError("pwrite", err), fmt.Errorf("wrote %d of %d bytes", n, len(content)))
	}
	if info.Size == int64(len(content)) {
		return nil
	}
	return os.NewSyscallError("ftruncate", unix.Ftruncate(fd, int64(len(content))))
}

// replaceFile writes a new file and renames it to the old one's name.
func replaceFile(path string, content []byte) error {
	beside, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	_, err = beside.Write(content)
	err = errors.Join(err, beside.Close())
	if err == nil {
		err = os.Rename(beside.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(beside.Name()))
	}
	return nil
}
