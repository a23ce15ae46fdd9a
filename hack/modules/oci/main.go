// Command oci writes images of static programs, without a container engine:
//
//	oci layout FILE IMAGE VERSION USER OS/ARCHITECTURE=PROGRAM...
//	oci archive [-program ...] [-link ...] [-tar ...] [-image ...] FILE
//
// layout writes one image for several platforms. archive writes several images
// for this machine, which may share layers; `oci archive -h` explains its flags.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
)

func main() {
	err := run(os.Args[1:])
	switch {
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "oci:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) > 0 {
		switch args[0] {
		case "layout":
			return writeLayout(args[1:])
		case "archive":
			return writeArchive(args[1:])
		}
	}
	return errors.New("usage: oci layout|archive ARGUMENTS")
}
