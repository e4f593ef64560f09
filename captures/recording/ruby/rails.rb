# Rails' ActiveRecord over ruby-pg. `ruby rails.rb SCENARIO`, where to connect in PGHOST and its kin, which libpq reads itself.

require "active_record"

class Item < ActiveRecord::Base
  self.table_name = "item"
end

WORKS = {
  one_query: -> { Item.find(7) },
  ten_queries: -> { (1..10).each { |number| Item.find(number) } },
  failure: lambda do
    Item.transaction do
      Item.find(1).increment!(:price)
      Item.create!(id: 1, name: "twice")
    end
  rescue ActiveRecord::RecordNotUnique
    nil
  end
}

ActiveRecord::Base.establish_connection(adapter: "postgresql")
WORKS.fetch(ARGV[0].to_sym).call
ActiveRecord::Base.connection.disconnect!
