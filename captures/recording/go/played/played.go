// Package played is what the programs of this module share: the scenario to play from the command line, where to connect from DATABASE_URL, and the values
// of captures/recording/scenarios.py.
package played

import (
	"fmt"
	"os"
)

const (
	Select  = "select id, name, price from item where id = $1"
	Insert  = "insert into item (id, name, price) values ($1, $2, $3)"
	Update  = "update item set price = price + 1 where id = $1"
	Twice   = "insert into item (id, name) values ($1, $2)"
	Types   = "select $1::int2, $2::int4, $3::int8, $4::bool, $5::float8, $6::numeric, $7::text, $8::bytea, $9::timestamptz, $10::date, $11::uuid, $12::int4[]"
	CopyOut = "copy item (id, name, price) to stdout"
	TooLong = "select pg_sleep(30)"
	Channel = "captures"
	UUID    = "00000000-0000-0000-0000-000000000007"
)

// Batch is the n-th row that executemany inserts.
func Batch(n int) (id int, name string, price any) {
	if n%7 != 0 {
		price = fmt.Sprintf("%d.25", n)
	}
	return 1000 + n, fmt.Sprintf("batch %d", n), price
}

// Copied is the n-th row that COPY brings in.
func Copied(n int) (id int, name string) {
	return 2000 + n, fmt.Sprintf("copied %d", n)
}

// Main plays the scenario that the command line names.
func Main(plays map[string]func(url string)) {
	play := plays[os.Args[1]]
	if play == nil {
		fmt.Fprintf(os.Stderr, "no scenario %s\n", os.Args[1])
		os.Exit(2)
	}
	play(os.Getenv("DATABASE_URL"))
}

// Must ends the program at an error that the scenario does not ask for.
func Must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
