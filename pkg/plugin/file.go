package plugin

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
)

// file is a file that is to be written: whole, or not at all. What is no regular file, such as
// /dev/stdout or a pipe, is written to as it is.
type file struct {
	path string
	// target is where it is behind links.
	target string
	// isThere is whether it is there already, and mode which rights it has then.
	isThere, isRegular bool
	mode               fs.FileMode
}

// fileAt returns the file at a path. The error says why it can't be written, as far as that can
// be known before. Nothing is there then that was not before, and what is there is as it was.
func fileAt(path string) (*file, error) {
	folder := filepath.Dir(path)
	if info, err := os.Stat(folder); err != nil || !info.IsDir() {
		return nil, fmt.Errorf("there is no folder %s", folder)
	}
	f := &file{path: path, target: path, mode: 0o644, isRegular: true}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, reason(err)
	case info.IsDir():
		return nil, errors.New("it is a folder; want a file")
	default:
		f.isThere, f.isRegular, f.mode = true, info.Mode().IsRegular(), info.Mode().Perm()
		if f.target, err = filepath.EvalSymlinks(path); err != nil {
			return nil, reason(err)
		}
	}
	if !f.isRegular {
		return f, nil // it may be a pipe, and opening that waits for who reads from it
	}
	return f, f.try()
}

// try finds out whether the file can be written.
func (f *file) try() error {
	if f.isThere { // one that may be read only is not replaced
		there, err := os.OpenFile(f.target, os.O_WRONLY, 0)
		if err != nil {
			return reason(err)
		}
		if err := there.Close(); err != nil {
			return reason(err)
		}
	}
	beside, err := f.beside()
	if err != nil {
		return fmt.Errorf("no file can be made in folder %s: %w", filepath.Dir(f.target), reason(err))
	}
	return errors.Join(beside.Close(), os.Remove(beside.Name()))
}

// beside makes a file beside the target, which can take its place.
func (f *file) beside() (*os.File, error) {
	name := fmt.Sprintf(".tidelay-%016x", rand.Uint64()) //nolint:gosec // it is no secret
	return os.OpenFile(filepath.Join(filepath.Dir(f.target), name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, f.mode)
}

// write writes the file. When that fails, what was there is as before. The error names the file.
func (f *file) write(content []byte) error {
	var err error
	if f.isRegular {
		err = f.replace(content)
	} else {
		err = os.WriteFile(f.target, content, f.mode)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", f.path, reason(err))
	}
	return nil
}

func (f *file) replace(content []byte) error {
	beside, err := f.beside()
	if err != nil {
		return err
	}
	_, err = beside.Write(content)
	if f.isThere {
		err = errors.Join(err, beside.Chmod(f.mode))
	}
	err = errors.Join(err, beside.Close())
	if err == nil {
		err = os.Rename(beside.Name(), f.target)
	}
	if err != nil {
		return errors.Join(err, os.Remove(beside.Name()))
	}
	return nil
}

// reason returns why a call of the system failed, without the name of the file that it was for:
// that may be the one beside.
func reason(err error) error {
	if of, is := errors.AsType[*fs.PathError](err); is {
		return of.Err
	}
	if of, is := errors.AsType[*os.LinkError](err); is {
		return of.Err
	}
	return err
}
