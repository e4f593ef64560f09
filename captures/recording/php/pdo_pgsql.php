<?php
// PDO with pdo_pgsql, on libpq, at its defaults: exceptions, native prepares. `php pdo_pgsql.php SCENARIO`, where to connect in PGHOST and its kin, which libpq reads itself.

const ITEM = 'select id, name, price from item where id = ?';

function connect(array $options = []): PDO
{
    return new PDO('pgsql:', null, null, $options);
}

$works = [
    'connect' => function (PDO $pdo) {},
    'one_query' => function (PDO $pdo) {
        $statement = $pdo->prepare(ITEM);
        $statement->execute([7]);
        $statement->fetchAll();
    },
    'ten_queries' => function (PDO $pdo) {
        foreach (range(1, 10) as $number) {
            $statement = $pdo->prepare(ITEM);
            $statement->execute([$number]);
            $statement->fetch();
        }
    },
    'executemany' => function (PDO $pdo) {
        $statement = $pdo->prepare('insert into item (id, name, price) values (?, ?, ?)');
        foreach (range(0, 99) as $number) {
            $statement->execute([1000 + $number, "batch $number", $number % 7 ? "$number.25" : null]);
        }
    },
    'types' => function (PDO $pdo) {
        $names = ['int2', 'int4', 'int8', 'bool', 'float8', 'numeric', 'text', 'bytea', 'timestamptz', 'date', 'uuid', 'int4[]'];
        $statement = $pdo->prepare('select ' . implode(', ', array_map(fn ($name) => "cast(? as $name)", $names)));
        $values = [-2, 4, 2 ** 40, true, 1.5, '12.340', 'naïve ✓', "\x00\xff", '2026-02-03 04:05:06.000789+00', '2026-02-03', '00000000-0000-0000-0000-000000000007', '{1,null,3}'];
        foreach ($values as $place => $value) {
            $type = match (true) {
                is_int($value) => PDO::PARAM_INT,
                is_bool($value) => PDO::PARAM_BOOL,
                $value === "\x00\xff" => PDO::PARAM_LOB,
                default => PDO::PARAM_STR,
            };
            $statement->bindValue($place + 1, $value, $type);
        }
        $statement->execute();
        $statement->fetch();
    },
    'copy_in' => function (PDO $pdo) {
        $pdo->pgsqlCopyFromArray('item', array_map(fn ($number) => (2000 + $number) . "\tcopied $number\n", range(0, 19)), "\t", "\\\\N", 'id, name');
    },
    'copy_out' => function (PDO $pdo) {
        $pdo->pgsqlCopyToArray('item');
    },
    'notify' => function (PDO $pdo) {
        $pdo->exec('listen captures');
        $pdo->exec("notify captures, 'hello'");
        $pdo->pgsqlGetNotify(PDO::FETCH_ASSOC, 10_000);
    },
    'failure' => function (PDO $pdo) {
        $pdo->beginTransaction();
        try {
            $pdo->prepare('update item set price = price + 1 where id = ?')->execute([1]);
            $pdo->prepare('insert into item (id, name) values (?, ?)')->execute([1, 'twice']);
        } catch (PDOException) {
            $pdo->rollBack();
        }
    },
];

if ($argv[1] === 'pool') {
    foreach (range(1, 3) as $number) {
        $pdo = connect([PDO::ATTR_PERSISTENT => true]);
        $statement = $pdo->prepare('select name from item where id = ?');
        $statement->execute([$number]);
        $statement->fetch();
        $statement = $pdo = null;
    }
} else {
    $works[$argv[1]](connect());
}
